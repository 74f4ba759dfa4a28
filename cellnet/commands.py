"""What each command of ``cellnet`` does: a few lines that call one public function.

Answers go to standard output, everything else to standard error. Each command imports what it
needs and no more, since training's packages take seconds to load.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellnet.foreign_text import printable

__all__ = [
    "calibrate",
    "data_draw",
    "data_prepare",
    "data_simulate",
    "evaluate",
    "explain",
    "export",
    "predict",
    "predict_smear",
    "predict_smears",
    "select",
    "serve",
    "train",
    "transfer",
    "unknown",
    "verify",
]

log = logging.getLogger(__name__)


def predict_smear(arguments: Namespace) -> int:
    """``cellnet predict-smear``."""
    from cellnet import predict, report
    from cellnet.outputs import check_writable

    check_writable(arguments.csv, arguments.html)
    found = predict.predict_smear(
        arguments.smear,
        **_decision(arguments),
        specialists=arguments.specialists,
        progress=True,
    )
    if arguments.csv:
        _write(arguments.csv, report.cells_csv(found))
    if arguments.html:
        from cellnet.smear_page import smear_page

        _write(arguments.html, smear_page(found, arguments.smear, threads=arguments.threads))
    if arguments.json:
        for warning in found.warnings:
            log.warning("%s", warning)
        _warn_unreadable(found.unreadable)
        _print_json(found.to_dict())
    else:
        print(report.smear_text(found, **_terminal()), end="")
    return 0


def predict_smears(arguments: Namespace) -> int:
    """``cellnet predict-smears``."""
    from cellnet import predict

    summary = predict.predict_smears(
        arguments.cohort,
        arguments.out,
        **_decision(arguments),
        specialists=arguments.specialists,
        progress=True,
    )
    log.info("%s", summary.told(arguments.out))
    return 1 if summary.failed else 0


def predict(arguments: Namespace) -> int:
    """``cellnet predict``."""
    from cellnet import report
    from cellnet.outputs import check_writable
    from cellnet.predict import predict
    from cellnet.smears import as_bundle

    check_writable(arguments.csv)
    model = arguments.model
    if arguments.cutoff is not None:
        model = as_bundle(model)
        if model.kind != "granularity":
            arguments.usage_error(f"--cutoff is for granularity scores, {model.name} answers none")
    found = predict(
        arguments.images,
        model,
        cutoff=arguments.cutoff,
        threads=arguments.threads,
        progress=True,
    )
    if arguments.csv:
        _write(arguments.csv, report.predictions_csv(found))
    if arguments.json:
        _warn_unreadable(found["unreadable"])
        _print_json(found)
    elif arguments.csv:
        _warn_unreadable(found["unreadable"])
    else:
        print(report.predictions_text(found, width=_terminal()["width"]), end="")
    return 0


def data_prepare(arguments: Namespace) -> int:
    """``cellnet data prepare``."""
    from cellnet.prepare import prepare

    made = prepare(
        arguments.source,
        arguments.adapter,
        arguments.out,
        seed=arguments.seed,
        sides=arguments.sides,
        also=arguments.also,
    )
    _print_text(made.summary())
    return 0


def data_simulate(arguments: Namespace) -> int:
    """``cellnet data simulate``."""
    from cellnet.cohort import simulate
    from cellnet.cohort_plan import Plan

    names = ("train_per_class", "smears", "proof_smears")
    plan = Plan(**_given(arguments, names))
    made = simulate(
        arguments.manifest, arguments.out, arguments.seed, plan=plan, partial=arguments.partial
    )
    _print_counts(made)
    return 0


def data_draw(arguments: Namespace) -> int:
    """``cellnet data draw``."""
    from cellnet.draw import draw_set, draw_smear

    if arguments.smear:
        for name in ("per_class", "smears"):
            if getattr(arguments, name) is not None:
                option = f"--{name.replace('_', '-')}"
                arguments.usage_error(
                    f"{option} is for a labelled set; leave out --smear, which draws one alone"
                )
        given = _given(arguments, ("cells",))
        if arguments.dysplastic is not None:
            given["dysplastic_fraction"] = arguments.dysplastic
        rows = draw_smear(arguments.out, arguments.seed, **given)
        _print_text(f"{len(rows)} cells in {arguments.out}")
        return 0
    if arguments.dysplastic is not None:
        arguments.usage_error("--dysplastic is for one smear; give --smear with it")
    _print_counts(
        draw_set(
            arguments.out, arguments.seed, **_given(arguments, ("per_class", "smears", "cells"))
        )
    )
    return 0


def train(arguments: Namespace) -> int:
    """``cellnet train``."""
    from cellnet.train import train

    bundle = train(
        arguments.recipe, data=arguments.data, run=arguments.run, resume=arguments.resume
    )
    _print_text(f"trained bundle: {bundle}")
    return 0


def transfer(arguments: Namespace) -> int:
    """``cellnet transfer``."""
    from cellnet.transfer import summary, transfer

    report = transfer(
        arguments.recipe, data=arguments.data, run=arguments.run, resume=arguments.resume
    )
    if arguments.json:
        _print_json(report)
    else:
        _print_text(summary(report))
    return 0


def select(arguments: Namespace) -> int:
    """``cellnet select``."""
    from cellnet.selection import select
    from cellnet.selection_page import summary

    report = select(
        arguments.recipe,
        data=arguments.data,
        run=arguments.run,
        resume=arguments.resume,
        side_by_side=arguments.jobs,
        ray=arguments.ray,
    )
    if arguments.json:
        _print_json(report)
    else:
        _print_text(summary(report))
    return 0


def evaluate(arguments: Namespace) -> int:
    """``cellnet evaluate``."""
    from cellnet import card, record
    from cellnet.evaluate import NO_TEST, evaluate
    from cellnet.outputs import check_writable
    from cellnet.smears import as_bundle

    if not arguments.record and (arguments.note or arguments.record_in):
        arguments.usage_error("--note and --record-in go with --record NAME; give a name")
    if arguments.record and arguments.split in NO_TEST:
        arguments.usage_error(f"--record keeps what tests measured; {arguments.split} is none")
    if arguments.among is not None and not as_bundle(arguments.model).names_the_eight:
        arguments.usage_error(
            f"--among chooses among Model 1's eight classes, {arguments.model} does not name them"
        )
    check_writable(arguments.out, arguments.html)
    if arguments.record:
        record.check(arguments.record, arguments.model, arguments.record_in)
    found = evaluate(
        arguments.model,
        arguments.manifest,
        arguments.split,
        html=arguments.html,
        out=arguments.out,
        among=arguments.among,
        group=arguments.group,
        classifier=arguments.classifier,
    )
    if arguments.record:
        keeper = arguments.record_in or arguments.model
        note = arguments.note or ""
        file = record.record(found, arguments.record, arguments.model, arguments.record_in, note)
        log.info("wrote %s and %s", file, card.refresh(keeper))
    if arguments.json:
        _print_json(found)
    else:
        from cellnet.evaluation_page import summary

        _print_text(summary(found))
    return 0


def unknown(arguments: Namespace) -> int:
    """``cellnet unknown``."""
    from cellnet.outputs import check_writable
    from cellnet.unknown import FITTED_ON, unknown

    if arguments.split == FITTED_ON:
        arguments.usage_error(f"--split {FITTED_ON} is what distances are fitted on; give another")
    check_writable(arguments.out, arguments.html)
    found = unknown(
        arguments.model,
        arguments.manifest,
        arguments.split,
        unknown=arguments.unknown,
        html=arguments.html,
        out=arguments.out,
        group=arguments.group,
    )
    if arguments.json:
        _print_json(found)
    else:
        from cellnet.unknown_page import summary

        _print_text(summary(found))
    return 0


def calibrate(arguments: Namespace) -> int:
    """``cellnet calibrate``."""
    from cellnet import card
    from cellnet.calibrate import calibrate, summary

    given = {}
    if arguments.min_neutrophils is not None:
        given["minimum_neutrophils"] = arguments.min_neutrophils
    point = calibrate(
        arguments.model,
        arguments.manifest,
        out=arguments.out,
        classifier=arguments.classifier,
        **given,
    )
    if arguments.out is None:
        log.info("wrote %s", card.refresh(arguments.model))
    if arguments.json:
        _print_json(point.to_json())
    else:
        _print_text(summary(point))
    return 0


def verify(arguments: Namespace) -> int:
    """``cellnet verify``."""
    from cellnet.verify import verify

    found = verify(arguments.model)
    if arguments.json:
        _print_json(found.to_dict())
    else:
        _print_text(found.text())
    return 0 if found.passed else 1


def serve(arguments: Namespace) -> int:
    """``cellnet serve``."""
    from cellnet.guard import token_fault
    from cellnet.limits import MIB, Limits
    from cellnet.server import serve

    token = arguments.token
    if token is None:
        token = os.environ.get("CELLNET_TOKEN") or None
    fault = token_fault(arguments.host, token)
    if fault:
        arguments.usage_error(fault)
    if arguments.port > 65535:
        arguments.usage_error(f"--port is a number up to 65535, got {arguments.port}")
    limits = Limits(
        upload_bytes=arguments.max_upload * MIB,
        files=arguments.max_files,
        unpacked_bytes=arguments.max_unpacked * MIB,
        ratio=arguments.max_ratio,
        seconds=arguments.max_seconds,
        smears=arguments.max_smears,
    )
    serve(
        host=arguments.host,
        port=arguments.port,
        token=token,
        app=arguments.app,
        keep=arguments.keep,
        limits=limits,
        **_decision(arguments),
    )
    return 0


def explain(arguments: Namespace) -> int:
    """``cellnet explain``."""
    from cellnet.explain import explain, summary, targets
    from cellnet.explain_cells import is_manifest
    from cellnet.smears import as_bundle

    bundle = as_bundle(arguments.model)
    if arguments.target not in (None, *targets(bundle)):
        arguments.usage_error(
            f"--class is one of {', '.join(targets(bundle))}, got {arguments.target}"
        )
    if arguments.split is not None and not any(map(is_manifest, arguments.images)):
        arguments.usage_error("--split is of a manifest; give one, or leave it out")
    model = bundle
    if arguments.layers:
        from cellnet.explain_network import Network

        model = Network(bundle)
        for layer in arguments.layers:
            if layer not in model.layers:
                arguments.usage_error(f"--layer is one of {', '.join(model.layers)}, got {layer}")
    found = explain(
        model,
        arguments.images,
        arguments.out,
        target=arguments.target,
        layers=arguments.layers,
        split=arguments.split,
        most_pictures=arguments.pictures,
        tsne=arguments.tsne,
        test=arguments.faithfulness,
        masks=arguments.masks,
        seed=arguments.seed,
        threads=arguments.threads,
        progress=True,
    )
    if arguments.json:
        for warning in found["warnings"]:
            log.warning("%s", warning)
        _warn_unreadable(found["unreadable"])
        _print_json(found)
    else:
        _print_text(summary(found, arguments.out))
    return 0


def export(arguments: Namespace) -> int:
    """``cellnet export``."""
    from cellnet.export import export, summary

    manifest = export(arguments.model, arguments.to, arguments.out)
    if arguments.json:
        _print_json(manifest)
    else:
        _print_text(summary(manifest, arguments.out))
    return 0


def _decision(arguments: Namespace) -> dict[str, Any]:
    names = ("model1", "dysplasianet", "cutoff", "threshold", "min_neutrophils", "threads")
    return {name: getattr(arguments, name) for name in names}


def _given(arguments: Namespace, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _terminal() -> dict[str, Any]:
    """How to write for whoever reads standard output: see `report.smear_text`."""
    is_terminal = sys.stdout.isatty()
    try:
        "█━●·•".encode(sys.stdout.encoding or "ascii")
        plain = False
    except (UnicodeEncodeError, LookupError):
        plain = True
    return {
        "width": min(shutil.get_terminal_size((80, 24)).columns, 100) if is_terminal else 80,
        "colour": is_terminal and not os.environ.get("NO_COLOR"),
        "plain": plain,
    }


def _print_json(document: Mapping[str, Any]) -> None:
    print(json.dumps(document, indent=2, allow_nan=False))


def _print_text(text: str) -> None:
    """Print lines for people; names in them must not drive the terminal."""
    print("\n".join(map(printable, text.rstrip("\n").split("\n"))))


def _print_counts(manifest: Any) -> None:
    from cellnet.manifest import counts

    lines = [f"{len(manifest.rows)} images in {manifest.file}"]
    for split, found in counts(manifest.rows).items():
        detail = ", ".join(f"{label} {number}" for label, number in found.items())
        lines.append(f"  {split}: {sum(found.values())} ({detail})")
    _print_text("\n".join(lines))


def _warn_unreadable(entries: Sequence[Mapping[str, str]]) -> None:
    for entry in entries:
        log.warning("unreadable: %s: %s", entry["file"], entry["reason"])


def _write(file: Path, text: str) -> None:
    from cellnet.outputs import write_text

    write_text(file, text)
    log.info("wrote %s", file)
