"""The rules of a smear's decision, by a table that other languages read too, and by property."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellnet.cells import CLASSES, NEUTROPHIL, OTHER
from cellnet.errors import CellnetError
from cellnet.operating_point import OperatingPoint
from cellnet.smear import CellRow, judge, name_cell, name_cells
from cellnet.verify import read_schema

CASES = json.loads((Path(__file__).parent / "cases" / "smear.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(read_schema("smear-report"))
MODELS = {
    role: {"name": role, "version": "1.0.0", "sha256": "0" * 64}
    for role in ("model1", "dysplasianet")
}


def row(label: str, score: float | None = None, cutoff: float = 0.5, number: int = 0) -> CellRow:
    """A cell of this label, certain but for `other`."""
    values = [1 / 8] * 8 if label == OTHER else [float(name == label) for name in CLASSES]
    return CellRow.of(f"cell-{number}.png", values, score, cutoff)


def rows(cells: list[dict], cutoff: float) -> list[CellRow]:
    made = [(cell["label"], cell["score"]) for cell in cells for _ in range(cell["times"])]
    return [row(label, score, cutoff, number) for number, (label, score) in enumerate(made)]


def copies(cells: list[dict]) -> list[str]:
    """The last ones of some cells repeat others of theirs."""
    repeats = [nth >= c["times"] - c.get("copies", 0) for c in cells for nth in range(c["times"])]
    return [f"cell-{number}.png" for number, repeated in enumerate(repeats) if repeated]


@pytest.mark.parametrize("case", CASES["naming"], ids=lambda case: case["why"])
def test_naming(case):
    assert name_cell(case["probabilities"]) == (case["label"], case["probability"])


def test_many_cells_are_named_as_each_alone():
    every = [case["probabilities"] for case in CASES["naming"]]
    named = [(*CLASSES, OTHER)[place] for place in name_cells(np.array(every))]
    assert named == [case["label"] for case in CASES["naming"]]


@pytest.mark.parametrize("case", CASES["smears"], ids=lambda case: case["why"])
def test_decision(case):
    point = OperatingPoint(case["cutoff"], case["threshold"], case["min_neutrophils"])
    made, repeated = rows(case["cells"], case["cutoff"]), copies(case["cells"])
    report = judge("s", made, point, models=MODELS, copies=repeated).to_dict()
    VALIDATOR.validate(report)
    assert report.get("copies", []) == sorted(repeated)
    expected = dict(case["expected"])
    counts = expected.pop("counts")
    interval = expected.pop("dysplastic_fraction_ci95")
    assert {key: report[key] for key in expected} == expected
    assert {k: v["count"] for k, v in report["differential"].items() if v["count"]} == counts
    assert (report["dysplastic_fraction_ci95"] is None) == (interval is None)
    if interval is not None:
        np.testing.assert_allclose(report["dysplastic_fraction_ci95"], interval, atol=1e-9)


def test_a_float32_score_is_compared_as_it_is():
    score = np.float32(0.979)
    values = [float(name == NEUTROPHIL) for name in CLASSES]
    assert CellRow.of("a", values, score, float(score)).dysplastic is True
    assert CellRow.of("a", values, score, np.nextafter(float(score), 0)).dysplastic is False


def test_a_neutrophil_without_a_score_is_refused():
    with pytest.raises(CellnetError, match="no granularity score"):
        row(NEUTROPHIL)


@pytest.mark.parametrize("values", [[0.5] * 7, [float("nan")] * 8])
def test_wrong_probabilities_are_refused(values):
    with pytest.raises(CellnetError, match="8 probabilities"):
        name_cell(values)


def warnings_of(cells: list[CellRow], unreadable: int = 0) -> list[str]:
    lost = [{"file": f"x{i}.jpg", "reason": "damaged"} for i in range(unreadable)]
    return list(judge("s", cells, OperatingPoint(0.5, 0.1), unreadable=lost).warnings)


def test_warnings_of_counts():
    enough = [row("lymphocyte", number=i) for i in range(60)]
    assert warnings_of(enough) == []
    assert warnings_of(enough, unreadable=6) == []
    (many,) = warnings_of(enough, unreadable=7)
    assert many.startswith("many unreadable: 7 of 67 images")
    (few,) = warnings_of(enough[:29])
    assert few.startswith("few cells: 29")
    (other,) = warnings_of(enough[:40] + [row(OTHER)] * 11)
    assert other.startswith("many other: no class holds for 11 of 51")
    assert warnings_of(enough[:40] + [row(OTHER)] * 10) == []


scores = st.floats(0, 1, width=32)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([*CLASSES, OTHER]), scores), min_size=1, max_size=60),
    scores,
    scores,
    st.integers(1, 20),
)
def test_every_report_is_consistent(cells, cutoff, threshold, least):
    made = [row(label, score, cutoff) for label, score in cells]
    report = judge("s", made, OperatingPoint(cutoff, threshold, least), models=MODELS).to_dict()
    VALIDATOR.validate(report)
    assert sum(entry["count"] for entry in report["differential"].values()) == len(cells)
    assert sum(entry["fraction"] for entry in report["differential"].values()) == pytest.approx(1)
    share, interval = report["dysplastic_fraction"], report["dysplastic_fraction_ci95"]
    if share is not None:
        assert interval[0] <= share <= interval[1]
    if report["decision"] == "indeterminate":
        assert report["neutrophils"] < least and report["confidence"] == "borderline"
    else:
        assert (report["decision"] == "mds-suspected") == (share > threshold)
        if report["confidence"] == "clear":
            assert (interval[0] > threshold) == (report["decision"] == "mds-suspected")


def test_judging_twice_gives_the_same_bytes():
    cells = [row("neutrophil", 0.3, number=i) for i in range(20)]
    point = OperatingPoint(0.5, 0.1)
    first, second = (json.dumps(judge("s", cells, point).to_dict()) for _ in range(2))
    assert first == second
