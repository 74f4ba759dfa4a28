"""From a file to pixels: cellnet's reader and resize against Pillow's, one thread each."""

from __future__ import annotations

from pathlib import Path

import measure


def compare(data: Path | None, scratch: Path, images: int, rounds: int) -> dict:
    """Images a second of decoding alone, and of decoding and resizing to a network's input."""
    import cv2
    import numpy as np
    from PIL import Image

    from cellnet.images import read_image, resize

    cv2.setNumThreads(1)
    files, what = measure.cells(data, images, scratch / "decode")

    def decode(file):
        return read_image(file)

    def decode_pillow(file):
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))

    def prepare(file):
        return resize(read_image(file), 224)

    def prepare_pillow(file):
        with Image.open(file) as image:
            small = image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
            return np.asarray(small, np.float32)

    ways = {
        "decode": decode,
        "decode, Pillow": decode_pillow,
        "decode and resize": prepare,
        "decode and resize, Pillow": prepare_pillow,
    }
    timed = {
        name: lambda way=way: measure.per_second(lambda: [way(file) for file in files], images)
        for name, way in ways.items()
    }
    speeds = measure.medians(timed, rounds)
    return {
        "images_per_second": {name: round(speed, 1) for name, speed in speeds.items()},
        "ratio_decode": speeds["decode"] / speeds["decode, Pillow"],
        "ratio_prepare": speeds["decode and resize"] / speeds["decode and resize, Pillow"],
        "images": images,
        "rounds": rounds,
        "what": what,
    }
