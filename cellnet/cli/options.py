"""What commands share: how one is added, groups of options, kinds of values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "Commands",
    "Options",
    "add_decision",
    "add_json",
    "add_making",
    "add_minimum",
    "add_model",
    "add_models",
    "add_outputs",
    "add_threads",
    "command",
    "count",
    "decision",
    "given",
    "name_list",
    "positive",
    "share",
]

# What `add_subparsers` returns; argparse has no public name for it.
Commands = Any
# A parser, or a group of its options.
Options = Any


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: What to add it to.
        name: What is typed.
        run: What it does with what was typed; it returns the exit status. What it alone can tell
            is wrong usage, it says with `arguments.usage_error`: exit status 2.
        text: What it is for, one sentence without its full stop.

    Returns:
        The command's parser.
    """
    parser = commands.add_parser(name, help=text[0].lower() + text[1:], description=f"{text}.")
    parser.set_defaults(command=run, usage_error=parser.error)
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")
    return parser


def add_model(parser: Options) -> None:
    """Add MODEL."""
    parser.add_argument("model", metavar="MODEL", help="a model's name, or a bundle's folder")


def add_json(parser: Options) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def add_outputs(parser: Options, html: bool = True) -> None:
    """Add where the answers about cells go."""
    output = parser.add_argument_group("output")
    add_json(output)
    output.add_argument("--csv", type=Path, metavar="FILE", help="write a table, a row for a cell")
    if html:
        output.add_argument("--html", type=Path, metavar="FILE", help="write a page with all cells")


def add_decision(parser: Options) -> None:
    """Add what replaces a fitted operating point; see `decision`."""
    decision = parser.add_argument_group(
        "decision", "in place of the operating point that was fitted for the model"
    )
    decision.add_argument(
        "--cutoff",
        type=share,
        metavar="X",
        help="a neutrophil is dysplastic at this score or less",
    )
    decision.add_argument(
        "--threshold", type=share, metavar="X", help="MDS is suspected above this dysplastic share"
    )
    add_minimum(decision)


def add_minimum(parser: Options) -> None:
    """Add --min-neutrophils."""
    parser.add_argument(
        "--min-neutrophils", type=positive, metavar="N", help="fewer give no decision"
    )


def add_models(parser: Options, specialists: bool = True) -> None:
    """Add which models read a smear."""
    models = parser.add_argument_group("models")
    for name, what in (("model1", "names cells"), ("dysplasianet", "scores neutrophils")):
        models.add_argument(
            f"--{name}",
            # Where specialists are declared, they may name another one.
            default=None if specialists and name == "dysplasianet" else name,
            metavar="MODEL",
            help=f"the model that {what}: a name, or a bundle's folder (default: {name})",
        )
    if specialists:
        models.add_argument(
            "--specialists",
            type=Path,
            metavar="FILE",
            help="YAML that says which models the cells of a class go on to (default: "
            "specialists.yaml of the model that names cells)",
        )
    add_threads(models)


def add_threads(parser: Options) -> None:
    """Add --threads."""
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="images read at a time (default: one a core)"
    )


def add_making(parser: Options) -> None:
    """Add what every command asks for that makes data."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N", help="of all randomness (default: 0)"
    )


def share(text: str) -> float:
    """Read a number in [0, 1]."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in [0, 1], got {text}")
    return value


def name_list(text: str) -> tuple[str, ...]:
    """Read names with commas between, in small letters."""
    names = tuple(name.strip().lower() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"must be names with commas between, got '{text}'")
    return names


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def count(text: str) -> int:
    """Read a whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value


# Argparse names these in its messages ("invalid number value: 'x'").
share.__name__ = "number"
positive.__name__ = count.__name__ = "whole number"


def decision(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_decision` and `add_models` added, as `cellnet.predict_smear` takes it."""
    names = ("model1", "dysplasianet", "cutoff", "threshold", "min_neutrophils", "threads")
    return {name: getattr(arguments, name) for name in names}


def given(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return those of the options that were typed, by name."""
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
