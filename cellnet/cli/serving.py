"""``cellnet serve``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cellnet.cli.options import (
    Commands,
    add_decision,
    add_models,
    command,
    count,
    decision,
    positive,
)
from cellnet.limits import MIB, Limits

__all__ = ["add"]

_LIMITS = Limits()


def add(commands: Commands) -> None:
    """Add this command to ``cellnet``."""
    parser = command(
        commands, "serve", _serve, "Serve the browser app and an HTTP interface that judges smears"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="NAME",
        help="name or address to listen at; any but this machine's own needs a token "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=count,
        default=8000,
        metavar="N",
        help="0 for any that is free (default: %(default)s)",
    )
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help="what each request has to show, 16 characters or more (default: $CELLNET_TOKEN, "
        "which other users of the machine cannot see)",
    )
    parser.add_argument(
        "--app",
        type=Path,
        metavar="DIR",
        help="folder of the built app (default: the checkout's export/dist)",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep each report there (default: keep nothing)"
    )
    limits = parser.add_argument_group("limits")
    for name, default, metavar, text in (
        ("upload", _LIMITS.upload_bytes // MIB, "MIB", "size of an upload, held in memory"),
        ("files", _LIMITS.files, "N", "files in an upload, those in zip archives among them"),
        ("unpacked", _LIMITS.unpacked_bytes // MIB, "MIB", "what its zip archives unpack to"),
        ("ratio", _LIMITS.ratio, "N", "times that a zip archive may be larger unpacked"),
        ("seconds", _LIMITS.seconds, "N", "time from a request's first byte to its answer"),
        ("smears", _LIMITS.smears, "N", "uploads in memory at a time; others are sent away"),
    ):
        limits.add_argument(
            f"--max-{name}",
            type=positive,
            default=default,
            metavar=metavar,
            help=f"{text} (default: %(default)s)",
        )
    add_decision(parser)
    add_models(parser, specialists=False)


def _serve(arguments: argparse.Namespace) -> int:
    """``cellnet serve``."""
    from cellnet.guard import token_fault
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
        **decision(arguments),
    )
    return 0
