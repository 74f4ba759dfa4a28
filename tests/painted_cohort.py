"""A cohort of painted cells: what the small networks of ``bundles`` answer on it is known."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from bundles import paint_cell

from cellnet.manifest import Row, read_manifest, write_manifest


class PaintedCohort:
    """Collects painted cells and smears, then writes manifest and truth.

    Attributes:
        folder: where the cohort stands.
        rows: the cells so far.
        truth: (set, smear, diagnosis) of the smears so far.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows: list[Row] = []
        self.truth: list[tuple[str, str, str]] = []

    def cell(self, split, label="neutrophil", g=None, score=0.9, smear="", painted=None, **more):
        """Add a cell; ``painted`` is what it looks like where that is not its label."""
        number = len(self.rows)
        path = f"{split}/{smear or 'cells'}/{number:05d}.png"
        paint_cell(self.folder / path, painted or label, score, mark=number + 1)
        sha256 = hashlib.sha256((self.folder / path).read_bytes()).hexdigest()
        self.rows.append(
            Row(
                path,
                sha256,
                label,
                split=split,
                smear=smear,
                source="painted",
                suppression="" if g is None else f"{g:.4f}",
                source_cell=more.pop("source_cell", f"source-{number}"),
                **more,
            )
        )

    def smear(self, split, name, diagnosis, normal, dysplastic, painted_others=0, patient=""):
        """Add a smear; ``painted_others`` dysplastic lymphocytes that look like neutrophils."""
        more = {"smear": name, "patient": patient}
        self.truth.append((split, name, diagnosis))
        for _ in range(normal):
            self.cell(split, g=0.1, score=0.9, **more)
        for _ in range(dysplastic):
            self.cell(split, g=0.8, score=0.1, **more)
        for _ in range(3):
            self.cell(split, "lymphocyte", **more)
        for _ in range(painted_others):
            self.cell(split, "lymphocyte", score=0.1, painted="neutrophil", **more)

    def write(self):
        """Write manifest and truth, and return the manifest."""
        write_manifest(self.folder, self.rows, ".", {"simulated": "painted, for tests"})
        with (self.folder / "truth.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("set", "smear", "diagnosis"), *self.truth])
        return read_manifest(self.folder)


def painted_cohort(folder: Path) -> PaintedCohort:
    """A cohort with all three test sets; the score separates cells, but for one pair."""
    cohort = PaintedCohort(folder)
    for number in range(12):
        cohort.cell(
            "test-by-cell", g=0.05 + number / 100, score=0.7 + number / 50, source_cell=f"s{number}"
        )
        cohort.cell(
            "test-by-cell", g=0.7 + number / 50, score=0.05 + number / 50, source_cell=f"s{number}"
        )
    cohort.cell("test-by-cell", g=0.5, score=0.5, source_cell="s0")
    for split, first in (("test-by-smear", "a"), ("proof-of-concept", "b")):
        for number in range(4):
            cohort.smear(split, f"{first}-healthy-{number}", "healthy", 12, number % 2)
            cohort.smear(split, f"{first}-mds-{number}", "mds", 8, 4 + number)
    return cohort
