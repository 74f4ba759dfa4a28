"""Commands that read images: ``predict-smear``, ``predict-smears``, ``predict``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from cellnet.cli.answers import print_json, put, terminal, warn_unreadable, write
from cellnet.cli.options import (
    Commands,
    add_decision,
    add_models,
    add_outputs,
    add_threads,
    command,
    decision,
    share,
)

__all__ = ["add"]

log = logging.getLogger(__name__)


def add(commands: Commands) -> None:
    """Add these commands to ``cellnet``."""
    _add_predict_smear(commands)
    _add_predict_smears(commands)
    _add_predict(commands)


def _add_predict_smear(commands: Commands) -> None:
    parser = command(
        commands, "predict-smear", _predict_smear, "Read one smear cell by cell and judge it"
    )
    parser.add_argument("smear", type=Path, metavar="SMEAR_DIR", help="folder of its cells' images")
    add_outputs(parser)
    add_decision(parser)
    add_models(parser)


def _predict_smear(arguments: argparse.Namespace) -> int:
    """``cellnet predict-smear``."""
    from cellnet import predict, report
    from cellnet.outputs import check_writable

    check_writable(arguments.csv, arguments.html)
    found = predict.predict_smear(
        arguments.smear,
        **decision(arguments),
        specialists=arguments.specialists,
        progress=True,
    )
    if arguments.csv:
        write(arguments.csv, report.cells_csv(found))
    if arguments.html:
        from cellnet.smear_page import smear_page

        write(arguments.html, smear_page(found, arguments.smear, threads=arguments.threads))
    if arguments.json:
        for warning in found.warnings:
            log.warning("%s", warning)
        warn_unreadable(found.unreadable)
        print_json(found.to_dict())
    else:
        put(report.smear_text(found, **terminal()))
    return 0


def _add_predict_smears(commands: Commands) -> None:
    parser = command(
        commands, "predict-smears", _predict_smears, "Judge a cohort, one sub-folder a smear"
    )
    parser.add_argument("cohort", type=Path, metavar="COHORT_DIR", help="folder of smears' folders")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSON lines, one report a smear; the same command goes on where it was interrupted",
    )
    add_decision(parser)
    add_models(parser)


def _predict_smears(arguments: argparse.Namespace) -> int:
    """``cellnet predict-smears``."""
    from cellnet import predict

    summary = predict.predict_smears(
        arguments.cohort,
        arguments.out,
        **decision(arguments),
        specialists=arguments.specialists,
        progress=True,
    )
    log.info("%s", summary.told(arguments.out))
    return 1 if summary.failed else 0


def _add_predict(commands: Commands) -> None:
    parser = command(commands, "predict", _predict, "Run one network on images")
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE_OR_DIR", help="images, or folders of them"
    )
    parser.add_argument(
        "--model",
        default="model1",
        metavar="NAME",
        help="model1 names cells, dysplasianet scores neutrophils, a specialist tells its own "
        "classes apart; or a bundle's folder (default: %(default)s)",
    )
    parser.add_argument(
        "--cutoff", type=share, metavar="X", help="cell cut-off, for dysplasianet alone"
    )
    add_outputs(parser, html=False)
    add_threads(parser)


def _predict(arguments: argparse.Namespace) -> int:
    """``cellnet predict``."""
    from cellnet import report
    from cellnet.bundle import as_bundle
    from cellnet.outputs import check_writable
    from cellnet.predict import predict

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
        write(arguments.csv, report.predictions_csv(found))
    if arguments.json:
        warn_unreadable(found["unreadable"])
        print_json(found)
    elif arguments.csv:
        warn_unreadable(found["unreadable"])
    else:
        put(report.predictions_text(found, width=terminal()["width"]))
    return 0
