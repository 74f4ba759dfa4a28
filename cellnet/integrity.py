"""What a folder of static files holds: path, size and SHA-256 of every file in it.

Written last, over all that is published, so that whoever serves or mirrors it can check it.
``python -m cellnet.integrity FOLDER`` writes ``FOLDER/integrity.json``.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellnet.bundle import sha256_of
from cellnet.errors import CellnetError
from cellnet.outputs import write_text

__all__ = ["FILE", "SCHEMA", "listed", "write_integrity"]

SCHEMA = "cellnet/integrity/1"
FILE = "integrity.json"


def listed(folder: Path) -> list[dict[str, Any]]:
    """List the files in a folder and its sub-folders, sorted by path.

    Hidden files, and what lies in hidden folders, is passed over: they are on their way to become
    something else.

    Args:
        folder: The folder.

    Returns:
        For each file ``path`` (below the folder, with ``/`` between), ``bytes`` and ``sha256``.
    """
    paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return [
        {"path": name.as_posix(), "bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for name, path in sorted(paths.items(), key=lambda item: item[0].as_posix())
        if not any(part.startswith(".") for part in name.parts)
    ]


def write_integrity(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Write ``integrity.json`` into a folder, over all that is in it but itself.

    Returns:
        The document.

    Raises:
        CellnetError: There is no such folder or nothing in it, or it cannot be written to.
    """
    folder = Path(folder)
    files = [entry for entry in listed(folder) if entry["path"] != FILE]
    if not files:
        raise CellnetError(f"there is no file in {folder} to list; build something into it first")
    document = {"schema": SCHEMA, "files": files}
    write_text(folder / FILE, json.dumps(document, indent=2) + "\n")
    return document


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m cellnet.integrity FOLDER``."""
    parser = argparse.ArgumentParser(prog="python -m cellnet.integrity", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder = parser.parse_args(argv).folder
    try:
        files = write_integrity(folder)["files"]
    except CellnetError as error:
        parser.exit(1, f"cellnet: error: {error}\n")
    print(f"{folder / FILE}: {len(files)} files, {sum(entry['bytes'] for entry in files):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
