"""What an upload may cost a server; the defaults suit smears of up to two thousand cells.

No other module is imported, so that the command line can state the defaults at no cost.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MIB", "Limits"]

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of uploads; each is at least 1. A single image is bounded by `images.MAX_BYTES`.

    Uploads are held in memory: at most ``smears * upload_bytes``, and one unpacked image a thread.

    Attributes:
        upload_bytes: Of the body of a request.
        files: Files of an upload, those in zip archives among them.
        unpacked_bytes: What the zip archives of an upload unpack to.
        ratio: How many times larger a zip archive may be unpacked.
        seconds: From the first byte of a request to its answer.
        smears: Uploads in the house at a time; one is read, others arrive or wait for their turn.
    """

    upload_bytes: int = 256 * MIB
    files: int = 2000
    unpacked_bytes: int = 1024 * MIB
    ratio: int = 100
    seconds: int = 300
    smears: int = 4
