"""``cellnet verify``."""

from __future__ import annotations

import argparse

from cellnet.cli.answers import print_json, print_text
from cellnet.cli.options import (
    Commands,
    add_json,
    add_model,
    command,
)

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add this command to ``cellnet``."""
    parser = command(
        commands, "verify", _verify, "Check a model: hashes, schema, contract, golden outputs"
    )
    add_model(parser)
    add_json(parser)


def _verify(arguments: argparse.Namespace) -> int:
    """``cellnet verify``."""
    from cellnet.verify import verify

    found = verify(arguments.model)
    if arguments.json:
        print_json(found.to_dict())
    else:
        print_text(found.text())
    return 0 if found.passed else 1
