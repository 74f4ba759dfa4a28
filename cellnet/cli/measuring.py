"""Commands that measure a model on a manifest: ``evaluate``, ``unknown``, ``calibrate``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from cellnet.cells import CLASSES
from cellnet.cli.answers import print_json, print_text
from cellnet.cli.options import (
    Commands,
    add_json,
    add_minimum,
    add_model,
    command,
)

__all__ = ["add"]

log = logging.getLogger(__name__)

GROUPS = ("auto", "patient", "smear", "source_cell", "none")


def add(commands: Commands) -> None:
    """Add these commands to ``cellnet``."""
    _add_evaluate(commands)
    _add_unknown(commands)
    _add_calibrate(commands)


def _add_evaluate(commands: Commands) -> None:
    parser = command(commands, "evaluate", _evaluate, "Measure a model on a split of a manifest")
    _add_measured(parser)
    _add_classifier(parser)
    _add_split(parser, "split to measure on")
    parser.add_argument(
        "--among",
        type=_among,
        metavar="CLASSES",
        help="measure these classes alone: 'five', 'eight', or a,b,c",
    )
    _add_results(parser)
    kept = parser.add_argument_group("record")
    kept.add_argument(
        "--record", metavar="NAME", help="keep the result in the model's metrics.json and card"
    )
    kept.add_argument("--note", metavar="TEXT", help="what was measured on, for people")
    kept.add_argument(
        "--record-in",
        metavar="MODEL",
        help="keep it with this model, which has the same network (default: MODEL)",
    )


def _evaluate(arguments: argparse.Namespace) -> int:
    """``cellnet evaluate``."""
    from cellnet import card, record
    from cellnet.bundle import as_bundle
    from cellnet.evaluate import NO_TEST, evaluate
    from cellnet.outputs import check_writable

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
        print_json(found)
    else:
        from cellnet.evaluation_page import summary

        print_text(summary(found))
    return 0


def _add_unknown(commands: Commands) -> None:
    parser = command(
        commands,
        "unknown",
        _unknown,
        "Measure what a model that names cells makes of cells that it never saw",
    )
    _add_measured(parser)
    _add_split(parser, "split of the known cells")
    parser.add_argument(
        "--unknown",
        type=Path,
        metavar="DIR",
        help="unknown cells, a sub-folder for each type (default: the manifest's cells of the "
        "classes that the model was trained without)",
    )
    _add_results(parser)


def _unknown(arguments: argparse.Namespace) -> int:
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
        print_json(found)
    else:
        from cellnet.unknown_page import summary

        print_text(summary(found))
    return 0


def _add_calibrate(commands: Commands) -> None:
    parser = command(
        commands, "calibrate", _calibrate, "Fit cell cut-off and smear threshold on a cohort"
    )
    _add_measured(parser)
    _add_classifier(parser)
    add_minimum(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, metavar="FILE", help="operating point's file (default: in the bundle)"
    )
    add_json(output)


def _calibrate(arguments: argparse.Namespace) -> int:
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
        print_json(point.to_json())
    else:
        print_text(summary(point))
    return 0


def _add_measured(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="a manifest's folder")


def _add_classifier(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--classifier",
        default="model1",
        metavar="MODEL",
        help="the model that names neutrophils in smears, or none (default: %(default)s)",
    )


def _add_split(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--split", default="test", metavar="NAME", help=f"{text} (default: %(default)s)"
    )
    parser.add_argument(
        "--group",
        default="auto",
        choices=GROUPS,
        help="what ties cells together (default: %(default)s, the first that any cell has; "
        "a cell without it goes by the next that it has)",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    add_json(output)
    output.add_argument("--out", type=Path, metavar="FILE", help="write the JSON document there")
    output.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")


def _among(text: str) -> str:
    names = {name.strip() for name in text.split(",")}
    unknown = ", ".join(sorted(names.difference(CLASSES)))
    if text not in ("five", "eight") and (unknown or len(names) < 2):
        raise argparse.ArgumentTypeError(
            f"must be five, eight, or two or more of {', '.join(CLASSES)}"
            + (f"; got {unknown}" if unknown else f"; got {text}")
        )
    return text
