"""The folder of a run: where it is, who may use it, what it keeps to go on with."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cellnet.bundle import sha256_of
from cellnet.errors import CellnetError
from cellnet.outputs import write_text
from cellnet.recipe import read_recipe, write_recipe

__all__ = ["claim", "claim_data", "data_of", "folder_of", "read_kept", "read_measured", "release"]


def folder_of(run: str | Path | None, name: str) -> Path:
    """The run folder that was given, or ``runs/NAME`` below the current folder."""
    return Path("runs") / name if run is None else Path(run)


def data_of(data: str | Path | None, doing: str) -> Path:
    """The folder of images that was given, or that of the environment variable ``CELLNET_DATA``.

    Args:
        data: What was given.
        doing: What needs them, for the error.

    Raises:
        CellnetError: Neither names a folder.
    """
    found = data or os.environ.get("CELLNET_DATA")
    if not found:
        raise CellnetError(
            f"{doing} needs images: give --data DIR, a folder with one sub-folder for each class, "
            "or set CELLNET_DATA"
        )
    return Path(found)


def claim(folder: Path, recipe: BaseModel, resume: bool) -> bool:
    """Make a run folder, or check that it holds this very recipe and may be gone on with.

    Args:
        folder: The run folder; its ``recipe.yaml`` says what was begun there.
        recipe: Of a training, or of a study.
        resume: Whether what the folder holds is to be gone on with.

    Returns:
        Whether the folder was made, and was not there before.

    Raises:
        CellnetError: It holds a run and ``resume`` is not set, the recipe has changed, or something
            else is in it.
    """
    stored = folder / "recipe.yaml"
    if stored.exists():
        if not resume:
            raise CellnetError(
                f"{folder} holds a run already; go on with it by --resume, or choose another --run"
            )
        if read_recipe(stored, type(recipe)) != recipe:
            raise CellnetError(
                f"the recipe differs from the one that {folder} was begun with ({stored}); "
                "train it in another --run"
            )
        return False
    # Hidden: a lock, or what a killed process had not finished to write.
    if folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise CellnetError(f"{folder} is not empty and holds no run; choose another --run")
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_recipe(recipe, stored)
    except OSError as error:
        raise CellnetError(f"cannot write the run folder {folder}: {error.strerror}") from error
    return made


def claim_data(data: Path, folder: Path) -> None:
    """Bind the run to its data: a run begun with others would mix two divisions into sides.

    A prepared folder is known by its manifest and may have moved; a plain one by its place.

    Args:
        data: The folder of images.
        folder: The run folder; its ``data.json`` says what was begun with.

    Raises:
        CellnetError: There is no such folder, or the run was begun with other data.
    """
    if not data.is_dir():
        raise CellnetError(
            f"no data folder at {data}; give --data DIR, a folder with one sub-folder a class"
        )
    manifest = data / "manifest.csv"
    given = (
        {"manifest_sha256": sha256_of(manifest)}
        if manifest.exists()
        else {"folder": str(data.resolve())}
    )
    stored = folder / "data.json"
    begun = read_kept(stored, "it says what the run was begun with, so choose another --run")
    if begun is None:
        write_text(stored, json.dumps(given | {"given": str(data.resolve())}, indent=2) + "\n")
        return
    if not isinstance(begun, dict) or any(begun.get(key) != it for key, it in given.items()):
        other = begun.get("given") if isinstance(begun, dict) else f"unknown to {stored}"
        raise CellnetError(
            f"{folder} was begun with other data, {other}, than {data}; "
            "give those, or train these in another --run"
        )


def release(folder: Path, made: bool) -> None:
    """Take the claim back where nothing was made yet, so that the right data can follow wrong.

    Args:
        folder: The run folder, held by this process.
        made: What `claim` returned: a folder that was not there before goes too.
    """
    made_here = {".lock", "recipe.yaml", "data.json"}
    if (folder / "cohort").is_symlink():  # to one that was given
        made_here.add("cohort")
    if {entry.name for entry in folder.iterdir()} <= made_here:
        for name in made_here - {".lock"}:
            (folder / name).unlink(missing_ok=True)
        if made:
            (folder / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another process may have begun in it
                folder.rmdir()


def read_kept(file: Path, remedy: str) -> Any:
    """Read what an earlier run wrote there; None where there is nothing.

    Args:
        file: Where.
        remedy: What to do where it cannot be read.

    Raises:
        CellnetError: The file cannot be read or holds no whole document.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CellnetError(
            f"cannot read {file}, which the run goes on with: {error}; {remedy}"
        ) from error


def read_measured(file: Path, cells: int) -> dict[str, Any] | None:
    """Read a result, whose accuracy must be of so many cells; None where there is none.

    Raises:
        CellnetError: The file cannot be read, or is of another number of cells.
    """
    found = read_kept(file, "remove it, and it is measured again")
    if found is None:
        return None
    try:
        measured = found["accuracy"]["n"]
    except (KeyError, TypeError):
        raise CellnetError(
            f"{file} holds no result with an accuracy; remove it, and it is measured again"
        ) from None
    if measured != cells:
        raise CellnetError(
            f"{file} was measured on {measured} cells, and there are {cells} now, since others "
            "are left out as seen by a network; choose another --run"
        )
    return found
