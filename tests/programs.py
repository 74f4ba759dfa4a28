"""What the programs that measure this project share: their steps, and how they type a command."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from cellnet import cli

ROOT = Path(__file__).resolve().parents[1]


def program(told: str | None, data: str) -> argparse.ArgumentParser:
    """A parser with what all programs take.

    Args:
        told: The program's docstring.
        data: What ``--data`` is; it may stand in the environment variable ``CELLNET_DATA`` too.
    """
    parser = argparse.ArgumentParser(
        description=told, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="STEP")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="what is made goes here")
    parser.add_argument("--data", type=Path, default=os.environ.get("CELLNET_DATA"), help=data)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "results.md")
    return parser


def run_steps(
    given: argparse.Namespace,
    steps: Mapping[str, Callable[[argparse.Namespace], None]],
    named: Collection[str] = ("docs",),
) -> None:
    """Make the steps that were asked for, in the order in which they were.

    Args:
        given: What the program was given.
        steps: By name; without any asked for, all are made in this order.
        named: Those that are made only where they are named, since they write into files of the
            project.
    """
    for step in given.steps:
        if step not in steps:
            print(f"there is no step '{step}'; there are: {', '.join(steps)}", file=sys.stderr)
            sys.exit(2)
    for step in given.steps or [it for it in steps if it not in named]:
        steps[step](given)


def data_of(given: argparse.Namespace) -> Path:
    """The cells that a step needs."""
    if given.data is None:
        print("this step needs --data (make: DATA=path/to/cells)", file=sys.stderr)
        sys.exit(2)
    return given.data


def run(*words: object) -> None:
    """Type a command of ``cellnet``, or stop."""
    typed = [str(word) for word in words]
    print(f"$ cellnet {shlex.join(typed)}", flush=True)
    status = cli.main(typed)
    if status:
        sys.exit(status)


def copy_bundle(run_folder: Path, target: Path) -> None:
    """Copy the bundle of a finished run; what else stands in the model's folder stays."""
    source = run_folder / "bundle"
    if not (source / "bundle.json").is_file():
        sys.exit(f"cellnet: error: there is no bundle at {source}; finish the run first")
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        print(f"{file} -> {target}", flush=True)
        shutil.copyfile(file, target / file.name)
