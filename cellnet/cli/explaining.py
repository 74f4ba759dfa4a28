"""``cellnet explain``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from cellnet.cli.answers import print_json, print_text, warn_unreadable
from cellnet.cli.options import (
    Commands,
    add_json,
    add_model,
    add_threads,
    command,
    count,
    positive,
)

__all__ = ["add"]

log = logging.getLogger(__name__)


def add(commands: Commands) -> None:
    """Add this command to ``cellnet``."""
    parser = command(
        commands, "explain", _explain, "Show what in an image speaks for a network's answer"
    )
    add_model(parser)
    parser.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="IMAGE_OR_DIR",
        help="images, or folders of them; or one manifest",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--split", metavar="NAME", help="split of a manifest (default: test)")
    parser.add_argument(
        "--classifier",
        default="model1",
        metavar="MODEL",
        help="of a network that knows one class alone, such as dysplasianet: the model that names "
        "cells whose class no folder tells, or none to explain all (default: %(default)s)",
    )
    what = parser.add_argument_group("pictures")
    what.add_argument(
        "--class",
        dest="target",
        metavar="NAME",
        help="explain this class, or granular or hypogranular (default: each cell's own answer)",
    )
    what.add_argument(
        "--layer",
        dest="layers",
        action="append",
        default=[],
        metavar="NAME",
        help="draw this layer's feature maps; may be repeated (default: the last block's)",
    )
    what.add_argument(
        "--pictures",
        type=count,
        default=100,
        metavar="N",
        help="how many cells get pictures, the first ones (default: %(default)s)",
    )
    measured = parser.add_argument_group("measurements")
    measured.add_argument(
        "--tsne",
        type=_plane,
        metavar="N",
        help="lay N cells on a plane by pixels and by features, and measure how their labels part",
    )
    measured.add_argument(
        "--faithfulness",
        type=positive,
        metavar="N",
        help="test the maps of N cells by deletion and insertion",
    )
    measured.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="masks laid out or called like the images: how much of each map falls on its cell",
    )
    measured.add_argument(
        "--seed", type=count, default=0, metavar="N", help="of all randomness (default: 0)"
    )
    add_json(parser)
    add_threads(parser)


def _plane(text: str) -> int:
    """Read of how many cells a plane is made."""
    from cellnet.explain_embedding import FEWEST, MOST

    value = int(text)
    if not FEWEST <= value <= MOST:
        raise argparse.ArgumentTypeError(f"must be from {FEWEST} to {MOST} cells, got {text}")
    return value


_plane.__name__ = "whole number"  # argparse names it: "invalid whole number value: 'x'"


def _explain(arguments: argparse.Namespace) -> int:
    """``cellnet explain``."""
    from cellnet.bundle import as_bundle
    from cellnet.explain import explain, summary, targets
    from cellnet.explain_cells import is_manifest

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
        classifier=arguments.classifier,
        seed=arguments.seed,
        threads=arguments.threads,
        progress=True,
    )
    if arguments.json:
        for warning in found["warnings"]:
            log.warning("%s", warning)
        warn_unreadable(found["unreadable"])
        print_json(found)
    else:
        print_text(summary(found, arguments.out))
    return 0
