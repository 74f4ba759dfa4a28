"""The runs of a study: each a folder of ``cellnet train``, all on the same data, several at a time.

A run's folder has links to the cohort and to the drawn cells of the study, so that nothing is
prepared twice. Finished runs are left alone, others go on from their last whole epoch.
``runs.json`` in the study's folder keeps how long each run took and how often it was begun, and the
sessions that the study was worked on in. Where runs are run is the business of ``jobs``, what they
are for that of ``selection``.
"""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cellnet.errors import CellnetError
from cellnet.jobs import Job, Outcome, Workplace
from cellnet.outputs import write_text
from cellnet.recipe import Recipe, write_recipe

__all__ = ["StudyRuns", "epochs_of"]

log = logging.getLogger(__name__)

SHARED = ("cohort", "drawn")
"""Folders of a study that its runs have links to."""

_FILE = "runs.json"
_LOOK_S = 10.0  # between two looks at how far the runs are


class StudyRuns:
    """The runs below a study's folder, and the record of them.

    Attributes:
        folder: The study's folder, absolute.
        place: Where runs are run.
        record: ``sessions`` and ``runs``, as ``runs.json`` has them.
    """

    def __init__(self, folder: Path, place: Workplace, progress: bool = True):
        self.folder = folder
        self.place = place
        self.progress = progress
        self._began = time.monotonic()
        self.record = self._read()
        self.record["sessions"].append(
            {
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": 0.0,
                "side_by_side": place.side_by_side,
                "threads": place.threads,
                "place": place.told,
            }
        )

    def train(self, recipes: dict[str, Recipe]) -> None:
        """Bring runs to their end; finished ones are left alone.

        Args:
            recipes: By the name of the run, which is its folder below the study's.

        Raises:
            CellnetError: One failed; the others go on the next time.
        """
        asked, epochs = [], 0
        for name, recipe in recipes.items():
            folder = self.folder / name
            if (folder / "bundle" / "bundle.json").exists():
                continue
            self._begin(folder, recipe)
            arguments = ("train", folder / "recipe.yaml", "--data", folder / "cohort",
                         "--run", folder, "--resume")  # fmt: skip
            asked.append(Job(name, tuple(map(str, arguments)), folder))
            epochs += recipe.training.epochs
        if not asked:
            return
        self.note_time()  # a session that is killed soon was one too
        bar = tqdm(total=epochs, unit=" epochs", disable=None if self.progress else True)
        looked = time.monotonic()

        def tick() -> None:
            nonlocal looked
            if time.monotonic() - looked > _LOOK_S:
                looked = time.monotonic()
                self.note_time()
                bar.n = sum(len(epochs_of(job.folder)) for job in asked)
                bar.refresh()

        with bar, contextlib.closing(self.place.run(asked, tick)) as outcomes:
            for outcome in outcomes:
                self._note(outcome)
                folder = self.folder / outcome.name
                if outcome.status:
                    raise CellnetError(
                        f"the run {outcome.name} failed (exit status {outcome.status}, begun "
                        f"{outcome.attempts} times): "
                        f"{outcome.said.removeprefix('cellnet: error: ')}; all it said is in "
                        f"{folder / 'job.log'}; put it right and go on with --resume"
                    )
                rows = epochs_of(folder)
                log.info(
                    "%s: best validation accuracy %.4f, %d epochs, %.1f minutes",
                    outcome.name, max(row["val_accuracy"] for row in rows), len(rows),
                    outcome.seconds / 60,
                )  # fmt: skip

    def _begin(self, folder: Path, recipe: Recipe) -> None:
        """Make a run folder with links to the data that all runs share."""
        if (folder / "recipe.yaml").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name in SHARED:
            link = folder / name
            if (self.folder / name).exists() and not link.exists():
                link.symlink_to(os.path.relpath(self.folder / name, folder))
        write_recipe(recipe, folder / "recipe.yaml")

    def time_of(self, run: str) -> dict[str, Any]:
        """``seconds`` and ``attempts`` of a run; None where nothing is recorded.

        What a run lost when the study itself was killed is not in its seconds.
        """
        return self.record["runs"].get(run, {"seconds": None, "attempts": None})

    def note_time(self) -> dict[str, Any]:
        """Write how long this session has lasted, and return the record."""
        self.record["sessions"][-1]["seconds"] = round(time.monotonic() - self._began, 1)
        write_text(self.folder / _FILE, json.dumps(self.record, indent=1) + "\n")
        return self.record

    def _note(self, outcome: Outcome) -> None:
        earlier = self.record["runs"].get(outcome.name, {"seconds": 0.0, "attempts": 0})
        self.record["runs"][outcome.name] = {
            "seconds": round(earlier["seconds"] + outcome.seconds, 1),
            "attempts": earlier["attempts"] + outcome.attempts,
        }
        self.note_time()

    def _read(self) -> dict[str, Any]:
        file = self.folder / _FILE
        if not file.exists():
            return {"sessions": [], "runs": {}}
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            return {"sessions": list(found["sessions"]), "runs": dict(found["runs"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CellnetError(
                f"cannot read {file}, which says how long the runs took: {error}; remove it"
            ) from error


def epochs_of(folder: Path) -> Sequence[dict[str, float]]:
    """The rows of a run's log; none before its first epoch."""
    try:
        with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
            return [
                {key: float(value) for key, value in row.items()} for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        return []
