"""``cellnet export``."""

from __future__ import annotations

import argparse
from pathlib import Path

from cellnet.cli.answers import print_json, print_text
from cellnet.cli.options import (
    Commands,
    add_json,
    add_model,
    command,
)

__all__ = ["add"]

FORMATS = ("savedmodel", "tfjs", "litert", "onnx")


def add(commands: Commands) -> None:
    """Add this command to ``cellnet``."""
    parser = command(
        commands, "export", _export, "Write a model in a format that other programs load"
    )
    add_model(parser)
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder to make; an earlier export in it is replaced",
    )
    add_json(parser)


def _export(arguments: argparse.Namespace) -> int:
    """``cellnet export``."""
    from cellnet.export import export, summary

    manifest = export(arguments.model, arguments.to, arguments.out)
    if arguments.json:
        print_json(manifest)
    else:
        print_text(summary(manifest, arguments.out))
    return 0
