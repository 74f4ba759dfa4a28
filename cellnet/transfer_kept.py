"""What a run of transfer learning keeps of each machine or training, to go on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cellnet.errors import CellnetError
from cellnet.run_folder import read_measured
from cellnet.verify import read_schema

__all__ = ["read_result"]


def read_result(file: Path, cells: int, schema: str, part: str) -> dict[str, Any] | None:
    """Read a result as the report will have it; None where there is none.

    Args:
        file: Where.
        cells: How many cells its accuracy must be of.
        schema: Of the report, such as ``cellnet/fine-tuning/1``.
        part: What the schema calls such a result.

    Raises:
        CellnetError: The file cannot be read, lacks what the report needs, or is of another number
            of cells.
    """
    import jsonschema

    found = read_measured(file, cells)
    if found is None:
        return None
    whole = read_schema(schema.split("/")[1])
    validator = jsonschema.Draft202012Validator(
        {"$defs": whole["$defs"], "$ref": f"#/$defs/{part}"}
    )
    if not validator.is_valid(found):
        raise CellnetError(
            f"{file} does not hold all that the report says of a result; remove it, and it is "
            "made again"
        )
    return found
