"""``cellnet data``: prepare, simulate, draw."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cellnet.cli.answers import print_text
from cellnet.cli.options import (
    Commands,
    add_making,
    command,
    count,
    given,
    name_list,
    share,
)

__all__ = ["add"]

ADAPTERS = ("pbc", "folder")


def add(commands: Commands) -> None:
    """Add these commands to ``cellnet``."""
    text = "Prepare, simulate or draw data"
    group = commands.add_parser("data", help=text[0].lower() + text[1:], description=f"{text}.")
    data = group.add_subparsers(title="commands", metavar="COMMAND", required=True)

    parser = command(
        data, "prepare", _prepare, "List a data set without copies, divided into splits"
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of the images")
    parser.add_argument(
        "--adapter",
        required=True,
        choices=ADAPTERS,
        help="how SOURCE is laid out: as the data set PBC, or one sub-folder a class",
    )
    parser.add_argument(
        "--sides",
        type=Path,
        metavar="FILE",
        help="keep the division that a model was trained with (training/splits/pbc.csv); images "
        "that are not in it go to test",
    )
    parser.add_argument(
        "--also",
        type=name_list,
        default=(),
        metavar="NAMES",
        help="folders of SOURCE that are classes beside the eight: a,b,c",
    )
    add_making(parser)

    parser = command(
        data,
        "simulate",
        _simulate,
        "Take granules out of real neutrophils and make cohorts of smears",
    )
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="as 'data prepare' wrote")
    add_making(parser)
    size = parser.add_argument_group("how much (default: as in the thesis)")
    size.add_argument("--train-per-class", type=count, metavar="N", help="training images a class")
    size.add_argument("--smears", type=count, metavar="N", help="smears in test-by-smear")
    size.add_argument("--proof-smears", type=count, metavar="N", help="smears in proof-of-concept")
    size.add_argument(
        "--partial", action="store_true", help="leave out a test set that there are no cells for"
    )

    parser = command(data, "draw", _draw, "Draw cells from nothing")
    add_making(parser)
    what = parser.add_argument_group("what is drawn")
    what.add_argument(
        "--smear", action="store_true", help="one smear alone, instead of a labelled set"
    )
    what.add_argument("--per-class", type=count, metavar="N", help="images of each class")
    what.add_argument("--smears", type=count, metavar="N", help="smears beside the labelled set")
    what.add_argument("--cells", type=count, metavar="N", help="images in each smear")
    what.add_argument(
        "--dysplastic",
        type=share,
        metavar="X",
        help="dysplastic share of the neutrophils, with --smear",
    )


def _prepare(arguments: argparse.Namespace) -> int:
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
    print_text(made.summary())
    return 0


def _simulate(arguments: argparse.Namespace) -> int:
    """``cellnet data simulate``."""
    from cellnet.cohort import simulate
    from cellnet.cohort_plan import Plan

    names = ("train_per_class", "smears", "proof_smears")
    plan = Plan(**given(arguments, names))
    made = simulate(
        arguments.manifest, arguments.out, arguments.seed, plan=plan, partial=arguments.partial
    )
    _print_counts(made)
    return 0


def _draw(arguments: argparse.Namespace) -> int:
    """``cellnet data draw``."""
    from cellnet.draw import draw_set, draw_smear

    if arguments.smear:
        for name in ("per_class", "smears"):
            if getattr(arguments, name) is not None:
                option = f"--{name.replace('_', '-')}"
                arguments.usage_error(
                    f"{option} is for a labelled set; leave out --smear, which draws one alone"
                )
        size = given(arguments, ("cells",))
        if arguments.dysplastic is not None:
            size["dysplastic_fraction"] = arguments.dysplastic
        rows = draw_smear(arguments.out, arguments.seed, **size)
        print_text(f"{len(rows)} cells in {arguments.out}")
        return 0
    if arguments.dysplastic is not None:
        arguments.usage_error("--dysplastic is for one smear; give --smear with it")
    _print_counts(
        draw_set(
            arguments.out, arguments.seed, **given(arguments, ("per_class", "smears", "cells"))
        )
    )
    return 0


def _print_counts(manifest: Any) -> None:
    from cellnet.manifest import counts

    lines = [f"{len(manifest.rows)} images in {manifest.file}"]
    for split, found in counts(manifest.rows).items():
        detail = ", ".join(f"{label} {number}" for label, number in found.items())
        lines.append(f"  {split}: {sum(found.values())} ({detail})")
    print_text("\n".join(lines))
