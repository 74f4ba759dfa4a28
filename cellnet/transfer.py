"""Transfer learning, one command: a recipe in, a report out (thesis, chapters 2 and 4).

A run folder holds::

    recipe.yaml     the resolved recipe
    data.json       which data it was begun with; others are refused
    networks.json   which networks and weights, likewise
    data/           what was prepared for it, where the data folder did not bring it
    features/ results/ svm/   of `svm_study`
    runs/           of `finetuning_study`
    report.json     all numbers; its schema is in ``cellnet/schemas``
    report.html     the same as a page that loads nothing from elsewhere

It can be stopped at any moment and gone on with. What each kind of experiment does is in its own
module, how the page looks in ``transfer_page``.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cellnet import __version__
from cellnet.errors import CellnetError
from cellnet.intervals import REPEATS
from cellnet.measured_page import require_plots
from cellnet.outputs import hold, write_text
from cellnet.run_folder import claim, data_of, folder_of, release
from cellnet.transfer_recipe import SvmStudy, TransferRecipe, read_transfer
from cellnet.versions import environment

__all__ = ["summary", "transfer"]


def transfer(
    recipe: str | Path,
    data: str | Path | None = None,
    run: str | Path | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Run an experiment of transfer learning and write its report.

    Args:
        recipe: A recipe file (``training/chapter*.yaml``).
        data: A folder with one sub-folder a class, or one that ``cellnet data prepare`` wrote.
            Default: the environment variable ``CELLNET_DATA``.
        run: Run folder; default ``runs/NAME`` below the current folder.
        resume: Go on with the experiment that the folder holds.

    Returns:
        The report, as ``report.json`` in the run folder has it.

    Raises:
        CellnetError: The recipe does not hold, a network or its weights are not to be had, the data
            cannot be used, the run folder holds another experiment or one to be gone on with, or
            the extra for training is not installed.
    """
    settings = read_transfer(recipe)
    require_plots()
    folder = folder_of(run, settings.name)
    images = data_of(data, "transfer learning")
    made = claim(folder, settings, resume)
    with hold(folder, "works"):
        prepared = (folder / "data").exists()
        try:
            found = _run(settings, images, folder)
        except CellnetError:
            # The recipe that follows a refused one may have the data prepared otherwise.
            if not prepared and not (folder / "networks.json").exists():
                shutil.rmtree(folder / "data", ignore_errors=True)
            release(folder, made)
            raise
        report = {
            "schema": found.pop("schema"),
            "name": settings.name,
            "source": settings.source,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "cellnet": __version__,
            "environment": environment("keras", "tensorflow-cpu", "tensorflow", "scikit-learn"),
            "bootstrap": {"samples": REPEATS, "seed": 0},
            **found,
            "published": None if settings.published is None else settings.published.model_dump(),
        }
        from cellnet.transfer_page import render

        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(folder / "report.json", text)
        write_text(folder / "report.html", render(report))
    return report


def _run(settings: TransferRecipe, data: Path, folder: Path) -> dict[str, Any]:
    if isinstance(settings, SvmStudy):
        from cellnet import svm_study as study
    else:
        from cellnet import finetuning_study as study
    return {"schema": study.SCHEMA, **study.run(settings, data, folder)}


def summary(report: dict[str, Any]) -> str:
    """A report in a few lines for people.

    Args:
        report: What `transfer` returns.
    """
    from cellnet.measured_page import interval, percent

    def told(title: str, estimate: dict[str, Any]) -> str:
        return f"  {title}: {percent(estimate['value'])} % (95 % interval {interval(estimate)})"

    lines = [f"{report['name']}: {report['source']}"]
    dropped = report["data"].get("dropped")
    if dropped:
        told_dropped = ", ".join(f"{number} {reason}" for reason, number in dropped.items())
        lines.append(
            f"  {sum(dropped.values())} images were left out when the data were prepared, see "
            f"dropped.csv: {told_dropped}"
        )
    for result in report["results"]:
        if "kernel" in result:
            lines.append(
                told(f"{result['label']}, {result['kernel']}: accuracy", result["accuracy"])
            )
            continue
        chosen = result["chosen"]
        lines.append(
            f"  {result['backbone']}: chosen the last {chosen['free']} blocks free, "
            f"{chosen['images_per_class']} images a class"
        )
        for name, test in result["tests"].items():
            lines.append("  " + told(f"test, trained {name}: accuracy", test["accuracy"]))
    lines += [f"  warning: {text}" for text in report["warnings"]]
    return "\n".join(lines)
