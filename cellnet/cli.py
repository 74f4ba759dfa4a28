"""The command line: what can be typed, and how a run ends.

The parser is here alone; what a command does is in ``commands``, loaded when one is run, so that
``cellnet --help`` costs milliseconds. Exit status: 0 answered (whatever the answer), 1 could not
answer (one line says why), 2 wrong usage, 130 interrupted, 141 the reader of the answer has gone,
143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from cellnet import __version__
from cellnet.cells import CLASSES
from cellnet.errors import CellnetError
from cellnet.foreign_text import printable
from cellnet.limits import MIB, Limits

__all__ = ["build_parser", "main"]

# What the extras bring, by the name that is imported: the first that has it is named.
_EXTRAS = {
    "train": "h5py keras matplotlib pandas pydantic scipy seaborn skops sklearn tensorboard "
    "tensorflow",
    "serve": "fastapi python_multipart starlette uvicorn",
    "ray": "ray",
}

_LIMITS = Limits()
ADAPTERS = ("pbc", "folder")
FORMATS = ("savedmodel", "tfjs", "litert", "onnx")
GROUPS = ("auto", "patient", "smear", "source_cell", "none")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: What was typed after ``cellnet``; None for this process's own arguments.

    Returns:
        The exit status.
    """
    try:
        _end_on_termination()
        arguments = build_parser().parse_args(argv)
        _set_up_streams(arguments.verbose)
        from cellnet import commands

        status = getattr(commands, arguments.command)(arguments)
        sys.stdout.flush()
        return status
    except CellnetError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        extra = next((name for name, held in _EXTRAS.items() if missing in held.split()), None)
        if extra is None:
            raise
        return _fail(
            f"this needs {missing}, which is not installed; install the extra '{extra}': "
            f"pip install 'cellnet[{extra}]'"
        )
    except KeyboardInterrupt:
        _say("cellnet: interrupted")
        return 130
    except BrokenPipeError:
        # The reader has gone, for example `head`. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is not None:
            return _fail(f"{error.filename}: {error.strerror}")
        if error.errno is None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(f"cannot write to standard output: {error.strerror}")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = _Parser(
        prog="cellnet",
        description="Names the cells of a blood smear and judges whether its neutrophils are "
        "hypogranulated. Research use only.",
    )
    parser.add_argument("--version", action="version", version=f"cellnet {__version__}")
    parser.set_defaults(verbose=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_predict_smear(commands)
    _add_predict_smears(commands)
    _add_predict(commands)
    _add_data(commands)
    _add_train(commands)
    _add_select(commands)
    _add_transfer(commands)
    _add_evaluate(commands)
    _add_unknown(commands)
    _add_calibrate(commands)
    _add_verify(commands)
    _add_explain(commands)
    _add_export(commands)
    _add_serve(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Like its base; what was typed is cleaned before an error repeats it."""

    def error(self, message: str) -> NoReturn:
        super().error(" ".join(map(printable, message.splitlines())))


def _command(commands, name: str, function: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text[0].lower() + text[1:], description=f"{text}.")
    # What only a command can tell is wrong usage, it says with `usage_error`: exit status 2.
    parser.set_defaults(command=function, usage_error=parser.error)
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")
    return parser


def _add_predict_smear(commands) -> None:
    parser = _command(
        commands, "predict-smear", "predict_smear", "Read one smear cell by cell and judge it"
    )
    parser.add_argument("smear", type=Path, metavar="SMEAR_DIR", help="folder of its cells' images")
    _add_outputs(parser)
    _add_decision(parser)
    _add_models(parser)


def _add_predict_smears(commands) -> None:
    parser = _command(
        commands, "predict-smears", "predict_smears", "Judge a cohort, one sub-folder a smear"
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
    _add_decision(parser)
    _add_models(parser)


def _add_predict(commands) -> None:
    parser = _command(commands, "predict", "predict", "Run one network on images")
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
        "--cutoff", type=_share, metavar="X", help="cell cut-off, for dysplasianet alone"
    )
    _add_outputs(parser, html=False)
    _add_threads(parser)


def _add_data(commands) -> None:
    text = "Prepare, simulate or draw data"
    group = commands.add_parser("data", help=text[0].lower() + text[1:], description=f"{text}.")
    data = group.add_subparsers(title="commands", metavar="COMMAND", required=True)

    parser = _command(
        data, "prepare", "data_prepare", "List a data set without copies, divided into splits"
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
        type=_names,
        default=(),
        metavar="NAMES",
        help="folders of SOURCE that are classes beside the eight: a,b,c",
    )
    _add_making(parser)

    parser = _command(
        data,
        "simulate",
        "data_simulate",
        "Take granules out of real neutrophils and make cohorts of smears",
    )
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="as 'data prepare' wrote")
    _add_making(parser)
    size = parser.add_argument_group("how much (default: as in the thesis)")
    size.add_argument("--train-per-class", type=_count, metavar="N", help="training images a class")
    size.add_argument("--smears", type=_count, metavar="N", help="smears in test-by-smear")
    size.add_argument("--proof-smears", type=_count, metavar="N", help="smears in proof-of-concept")
    size.add_argument(
        "--partial", action="store_true", help="leave out a test set that there are no cells for"
    )

    parser = _command(data, "draw", "data_draw", "Draw cells from nothing")
    _add_making(parser)
    what = parser.add_argument_group("what is drawn")
    what.add_argument(
        "--smear", action="store_true", help="one smear alone, instead of a labelled set"
    )
    what.add_argument("--per-class", type=_count, metavar="N", help="images of each class")
    what.add_argument("--smears", type=_count, metavar="N", help="smears beside the labelled set")
    what.add_argument("--cells", type=_count, metavar="N", help="images in each smear")
    what.add_argument(
        "--dysplastic",
        type=_share,
        metavar="X",
        help="dysplastic share of the neutrophils, with --smear",
    )


def _add_train(commands) -> None:
    parser = _command(commands, "train", "train", "Train a network by a recipe, from scratch")
    _add_recipe(parser, "*.yaml")


def _add_transfer(commands) -> None:
    parser = _command(
        commands,
        "transfer",
        "transfer",
        "Put networks that others trained to use by a recipe: features and support vector "
        "machines, or fine-tuning",
    )
    _add_recipe(parser, "chapter*.yaml")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def _add_select(commands) -> None:
    parser = _command(
        commands, "select", "select", "Train candidates, choose one on smears, cross-validate it"
    )
    _add_recipe(parser, "*-selection*.yaml", "a manifest, or a cohort with smears")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    where = parser.add_argument_group("where the runs run")
    where.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help="runs at a time, the cores shared out (default: 1, or one a machine of a cluster)",
    )
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="HOST:PORT of a Ray cluster that shares DIR, or auto (default: this machine)",
    )


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


def _add_evaluate(commands) -> None:
    parser = _command(commands, "evaluate", "evaluate", "Measure a model on a split of a manifest")
    _add_measured(parser)
    parser.add_argument(
        "--split", default="test", metavar="NAME", help="split to measure on (default: %(default)s)"
    )
    parser.add_argument(
        "--among",
        type=_among,
        metavar="CLASSES",
        help="measure these classes alone: 'five', 'eight', or a,b,c",
    )
    parser.add_argument(
        "--group",
        default="auto",
        choices=GROUPS,
        help="what ties cells together (default: %(default)s, the first that every cell has)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON document on standard output")
    output.add_argument("--out", type=Path, metavar="FILE", help="write the JSON document there")
    output.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")
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


def _add_unknown(commands) -> None:
    parser = _command(
        commands,
        "unknown",
        "unknown",
        "Measure what a model that names cells makes of cells that it never saw",
    )
    parser.add_argument("model", metavar="MODEL", help="a model's name, or a bundle's folder")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="a manifest's folder")
    parser.add_argument(
        "--split",
        default="test",
        metavar="NAME",
        help="split of the known cells (default: %(default)s)",
    )
    parser.add_argument(
        "--unknown",
        type=Path,
        metavar="DIR",
        help="unknown cells, a sub-folder for each type (default: the manifest's cells of the "
        "classes that the model was trained without)",
    )
    parser.add_argument(
        "--group",
        default="auto",
        choices=GROUPS,
        help="what ties cells together (default: %(default)s, the first that every cell has)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON document on standard output")
    output.add_argument("--out", type=Path, metavar="FILE", help="write the JSON document there")
    output.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")


def _add_calibrate(commands) -> None:
    parser = _command(
        commands, "calibrate", "calibrate", "Fit cell cut-off and smear threshold on a cohort"
    )
    _add_measured(parser)
    _add_minimum(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, metavar="FILE", help="operating point's file (default: in the bundle)"
    )
    output.add_argument("--json", action="store_true", help="one JSON document on standard output")


def _add_verify(commands) -> None:
    parser = _command(
        commands, "verify", "verify", "Check a model: hashes, schema, contract, golden outputs"
    )
    parser.add_argument("model", metavar="MODEL", help="a model's name, or a bundle's folder")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def _add_explain(commands) -> None:
    parser = _command(
        commands, "explain", "explain", "Show what in an image speaks for a network's answer"
    )
    parser.add_argument("model", metavar="MODEL", help="a model's name, or a bundle's folder")
    parser.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="IMAGE_OR_DIR",
        help="images, or folders of them; or one manifest",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--split", metavar="NAME", help="split of a manifest (default: test)")
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
        type=_count,
        default=100,
        metavar="N",
        help="how many cells get pictures, the first ones (default: %(default)s)",
    )
    measured = parser.add_argument_group("measurements")
    measured.add_argument(
        "--tsne",
        type=_positive,
        metavar="N",
        help="lay N cells on a plane by pixels and by features, and measure how their labels part",
    )
    measured.add_argument(
        "--faithfulness",
        type=_positive,
        metavar="N",
        help="test the maps of N cells by deletion and insertion",
    )
    measured.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="masks called like the images: how much of each map falls on its cell",
    )
    measured.add_argument(
        "--seed", type=_count, default=0, metavar="N", help="of all randomness (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    _add_threads(parser)


def _add_export(commands) -> None:
    parser = _command(
        commands, "export", "export", "Write a model in a format that other programs load"
    )
    parser.add_argument("model", metavar="MODEL", help="a model's name, or a bundle's folder")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder to make; an earlier export in it is replaced",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def _add_serve(commands) -> None:
    parser = _command(
        commands, "serve", "serve", "Serve the browser app and an HTTP interface that judges smears"
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
        type=_count,
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
            type=_positive,
            default=default,
            metavar=metavar,
            help=f"{text} (default: %(default)s)",
        )
    _add_decision(parser)
    _add_models(parser, specialists=False)


def _add_outputs(parser: argparse.ArgumentParser, html: bool = True) -> None:
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON document on standard output")
    output.add_argument("--csv", type=Path, metavar="FILE", help="write a table, a row for a cell")
    if html:
        output.add_argument("--html", type=Path, metavar="FILE", help="write a page with all cells")


def _add_decision(parser: argparse.ArgumentParser) -> None:
    decision = parser.add_argument_group(
        "decision", "in place of the operating point that was fitted for the model"
    )
    decision.add_argument(
        "--cutoff",
        type=_share,
        metavar="X",
        help="a neutrophil is dysplastic at this score or less",
    )
    decision.add_argument(
        "--threshold", type=_share, metavar="X", help="MDS is suspected above this dysplastic share"
    )
    _add_minimum(decision)


def _add_minimum(parser) -> None:
    parser.add_argument(
        "--min-neutrophils", type=_positive, metavar="N", help="fewer give no decision"
    )


def _add_models(parser: argparse.ArgumentParser, specialists: bool = True) -> None:
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
    _add_threads(models)


def _add_threads(parser) -> None:
    parser.add_argument(
        "--threads", type=_positive, metavar="N", help="images read at a time (default: one a core)"
    )


def _add_making(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--seed", type=_count, default=0, metavar="N", help="of all randomness (default: 0)"
    )


def _add_measured(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model's name, or a bundle's folder")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="a manifest's folder")
    parser.add_argument(
        "--classifier",
        default="model1",
        metavar="MODEL",
        help="the model that names neutrophils in smears, or none (default: %(default)s)",
    )


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in [0, 1], got {text}")
    return value


def _among(text: str) -> str:
    names = {name.strip() for name in text.split(",")}
    unknown = ", ".join(sorted(names.difference(CLASSES)))
    if text not in ("five", "eight") and (unknown or len(names) < 2):
        raise argparse.ArgumentTypeError(
            f"must be five, eight, or two or more of {', '.join(CLASSES)}"
            + (f"; got {unknown}" if unknown else f"; got {text}")
        )
    return text


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"must be names with commas between, got '{text}'")
    return names


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value


# Argparse names these in its messages ("invalid number value: 'x'").
_share.__name__ = "number"
_positive.__name__ = _count.__name__ = "whole number"


class _StandardError(logging.Handler):
    """Log lines for people: ``cellnet: warning: ...``, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        line = f"cellnet: {level}{record.getMessage()}"
        bars = sys.modules.get("tqdm")
        if bars is None:
            _say(line)
        else:
            with bars.tqdm.external_write_mode(file=sys.stderr):
                _say(line)


def _set_up_streams(verbose: bool) -> None:
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal lacks is no reason to fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    log = logging.getLogger("cellnet")
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.handlers = [_StandardError()]


def _end_on_termination() -> None:
    """Let a polite kill unwind the program, so that folders half made are taken away."""

    def end(*_: object) -> NoReturn:
        sys.exit(143)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


def _say(line: str) -> None:
    try:
        # Names of files are foreign text; one of them must not drive the terminal.
        print(printable(" ".join(line.splitlines())), file=sys.stderr, flush=True)
    except OSError:  # nobody listens
        pass


def _fail(message: str) -> int:
    _say(f"cellnet: error: {message}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
