"""Commands that follow a recipe: ``train``, ``select``, ``transfer``."""

from __future__ import annotations

import argparse
from pathlib import Path

from cellnet.cli.answers import print_json, print_text
from cellnet.cli.options import (
    Commands,
    add_json,
    command,
    positive,
)

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add these commands to ``cellnet``."""
    _add_train(commands)
    _add_select(commands)
    _add_transfer(commands)


def _add_train(commands: Commands) -> None:
    parser = command(commands, "train", _train, "Train a network by a recipe, from scratch")
    _add_recipe(parser, "*.yaml", "a manifest, or a cohort")


def _train(arguments: argparse.Namespace) -> int:
    """``cellnet train``."""
    from cellnet.train import train

    bundle = train(
        arguments.recipe, data=arguments.data, run=arguments.run, resume=arguments.resume
    )
    print_text(f"trained bundle: {bundle}")
    return 0


def _add_select(commands: Commands) -> None:
    parser = command(
        commands, "select", _select, "Train candidates, choose one on smears, cross-validate it"
    )
    _add_recipe(parser, "*-selection*.yaml", "a manifest, or a cohort with smears")
    add_json(parser)
    where = parser.add_argument_group("where the runs run")
    where.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="runs at a time, the cores shared out (default: 1, or one a machine of a cluster)",
    )
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="HOST:PORT of a Ray cluster that shares DIR, or auto (default: this machine)",
    )


def _select(arguments: argparse.Namespace) -> int:
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
        print_json(report)
    else:
        print_text(summary(report))
    return 0


def _add_transfer(commands: Commands) -> None:
    parser = command(
        commands,
        "transfer",
        _transfer,
        "Put networks that others trained to use by a recipe: features and support vector "
        "machines, or fine-tuning",
    )
    _add_recipe(parser, "chapter*.yaml")
    add_json(parser)


def _transfer(arguments: argparse.Namespace) -> int:
    """``cellnet transfer``."""
    from cellnet.transfer import summary, transfer

    report = transfer(
        arguments.recipe, data=arguments.data, run=arguments.run, resume=arguments.resume
    )
    if arguments.json:
        print_json(report)
    else:
        print_text(summary(report))
    return 0


def _add_recipe(parser: argparse.ArgumentParser, pattern: str, also: str = "or a manifest") -> None:
    """What every command that follows a recipe in a folder of its own asks for."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help=f"training/{pattern}")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=f"one sub-folder a class, {also} (default: $CELLNET_DATA)",
    )
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="run folder (default: runs/NAME of the recipe)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with what the run folder holds"
    )
