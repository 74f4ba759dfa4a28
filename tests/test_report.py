"""Text and tables of a report: every number is there, and foreign names do no harm."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from cellnet.cells import CLASSES
from cellnet.foreign_text import printable
from cellnet.operating_point import OperatingPoint
from cellnet.report import (
    cells_csv,
    confidence_sentence,
    decision_sentence,
    percent,
    predictions_csv,
    predictions_text,
    safe_cell,
    scale_end,
    smear_text,
)
from cellnet.smear import CellRow, SmearReport, judge
from cellnet.smear_page import _groups, uncertainty

CASES = json.loads((Path(__file__).parent / "cases" / "report.json").read_text("utf-8"))
MODELS = {
    "model1": {"name": "model1", "version": "1.0.0", "sha256": "ab" * 32},
    "dysplasianet": {"name": "dysplasianet", "version": "2.0.0", "sha256": "cd" * 32},
}


def make(
    normal: int = 30, dysplastic: int = 0, others: int = 10, threshold: float = 0.125, **more
) -> SmearReport:
    cells = [("neutrophil", 0.9)] * normal + [("neutrophil", 0.1)] * dysplastic
    cells += [("lymphocyte", None)] * others
    rows = [
        CellRow.of(f"cell-{i:03d}.jpg", [float(c == label) for c in CLASSES], score, 0.5)
        for i, (label, score) in enumerate(cells)
    ]
    return judge("smear 1", rows, OperatingPoint(0.5, threshold), models=MODELS, **more)


@pytest.mark.parametrize("case", CASES["numbers"], ids=lambda case: case["csv"])
def test_number_cases(case):
    value = case["value"]
    found = percent(value), f"{value:.6g}", repr(value)
    assert found == (case["percent"], case["six_digits"], case["csv"])


@pytest.mark.parametrize("case", CASES["reports"], ids=lambda case: case["why"])
def test_report_cases(case):
    rows = [
        CellRow.of(cell["file"], cell["probabilities"], cell["granularity"], case["cutoff"])
        for cell in case["cells"]
    ]
    report = judge(
        "s",
        rows,
        OperatingPoint(case["cutoff"], case["threshold"], case["min_neutrophils"]),
        unreadable=[{"file": f"x{i}", "reason": "damaged"} for i in range(case["unreadable"])],
    )
    groups = [[key, name, [cell.file for cell in cells]] for key, name, cells in _groups(report)]
    expected = dict(case["expected"])
    uncertainties = expected.pop("uncertainties")
    assert [uncertainty(row, case["cutoff"]) for row in rows] == pytest.approx(uncertainties)
    table = expected.pop("csv")
    assert table is None or cells_csv(report) == table
    assert expected == {
        "decision_sentence": decision_sentence(report),
        "confidence_sentence": confidence_sentence(report),
        "scale_end": scale_end(report),
        "warnings": list(report.warnings),
        "groups": groups,
    }


def test_the_decision_comes_first():
    text = smear_text(make(normal=18, dysplastic=12))
    lines = text.splitlines()
    assert lines[0] == "smear 1: MDS suspected (clear)"
    assert lines[1] == "12 of 30 neutrophils (40.0 %) dysplastic, above the threshold of 12.5 %."
    assert "all of it lies above the threshold" in text.replace("\n", " ")
    assert "threshold 12.5 %" in text and "WHO line 10.0 %" in text
    assert "  neutrophil      30   75.0 %" in text
    assert "model1 1.0.0 (abababababab), dysplasianet 2.0.0 (cdcdcdcdcdcd)" in text
    assert lines[-1] == "Research use only: this is no diagnosis."


@pytest.mark.parametrize(
    ("counts", "title", "words"),
    [
        ((100, 0), "No dysplasia (clear)", "all of it lies below the threshold"),
        ((27, 3), "No dysplasia (borderline)", "more neutrophils could change the decision"),
        ((20, 4), "MDS suspected (borderline)", "the threshold lies within"),
        ((3, 2), "Indeterminate", "a decision needs 10 neutrophils"),
        ((0, 0), "Indeterminate", "There is no neutrophil among 10 cells"),
        ((1, 0), "Indeterminate", "0 of 1 neutrophil (0.0 %)"),
    ],
)
def test_every_decision_in_words(counts, title, words):
    text = smear_text(make(*counts))
    assert text.splitlines()[0] == f"smear 1: {title}"
    assert words in " ".join(text.split())


def test_copies_are_told_where_they_decide():
    names = [f"cell-{i:03d}.jpg" for i in range(30)]
    few = make(normal=18, dysplastic=12, copies=names[:11] + names[19:])
    assert decision_sentence(few) == (
        "12 of 30 neutrophils (40.0 %) dysplastic; a decision needs 10 neutrophils, and without "
        "repeated images there are 8."
    )
    unsure = make(normal=18, dysplastic=12, copies=names[20:])
    assert smear_text(unsure).startswith("smear 1: MDS suspected (borderline)\n")
    assert confidence_sentence(unsure) == (
        "The 95 % interval of the share is 22.7 % to 59.4 %, but images repeat others: counted "
        "once each, they are too few to be sure."
    )


@pytest.mark.parametrize("counts", [(100, 0), (18, 12), (1, 1), (0, 0), (0, 40)])
@pytest.mark.parametrize("threshold", [0.0, 0.125, 0.5, 1.0])
def test_text_keeps_to_its_width(counts, threshold):
    lost = [{"file": "x" * 70 + ".jpg", "reason": "the file is empty"}] * 12
    report = make(*counts, threshold=threshold, unreadable=lost, warnings=["many words " * 20])
    for width in (60, 80, 100):
        text = smear_text(report, width=width)
        assert max(map(len, text.splitlines())) <= width
        assert all(line == line.rstrip() for line in text.splitlines())


def test_colour_and_characters_only_where_asked():
    report = make(18, 12, warnings=["a warning"])
    assert "\x1b[1;31mMDS suspected (clear)\x1b[0m" in smear_text(report, colour=True)
    assert "\x1b" not in smear_text(report)
    assert smear_text(report, plain=True).isascii()
    assert "█" in smear_text(report)


def test_warnings_and_unreadable_files_are_listed():
    lost = [{"file": f"{n}.jpg", "reason": "the file is empty"} for n in range(12)]
    text = smear_text(make(unreadable=lost, warnings=["off-colour smear: too blue"]))
    assert "• off-colour smear: too blue" in text
    assert "Unreadable: 12 files" in text and "9.jpg: the file is empty" in text
    assert "10.jpg" not in text and "and 2 more" in text


def test_names_cannot_drive_a_terminal():
    lost = [{"file": "a\x1b[2Jb\nc\udcff.jpg", "reason": "x"}]
    text = smear_text(make(unreadable=lost))
    assert "\x1b" not in text and "a\ufffd[2Jb\ufffdc\ufffd.jpg: x" in text
    assert printable("Zürich/ß.png") == "Zürich/ß.png"
    assert printable("\ud800\x9b31m\x07") == "\ufffd\ufffd31m\ufffd"


def test_a_table_with_a_row_for_each_cell():
    report = make(normal=1, dysplastic=1, others=1)
    rows = list(csv.DictReader(io.StringIO(cells_csv(report))))
    assert list(rows[0]) == [
        "file", "label", "probability", *CLASSES, "granularity", "dysplastic",
    ]  # fmt: skip
    assert [row["dysplastic"] for row in rows] == ["false", "true", ""]
    assert [row["granularity"] for row in rows] == ["0.9", "0.1", ""]
    assert [float(row["neutrophil"]) for row in rows] == [1, 1, 0]


@pytest.mark.parametrize("name", ["=1+1.jpg", "+a.jpg", "-a.jpg", "@a.jpg", " =a.jpg", "\t=a.jpg"])
def test_names_cannot_become_formulas(name):
    assert safe_cell(name)[0] in "'\ufffd"
    assert safe_cell("a=b-c.jpg") == "a=b-c.jpg"


def test_predictions():
    named = {
        "cells": [
            {
                "file": "=a.jpg",
                "label": "other",
                "probability": 0.25,
                "probabilities": dict.fromkeys(CLASSES, 0.125),
            }
        ],
        "unreadable": [{"file": "b.jpg", "reason": "the file is empty"}],
    }
    assert "=a.jpg  other              0.2500" in predictions_text(named)
    assert "b.jpg: the file is empty" in predictions_text(named)
    (row,) = csv.DictReader(io.StringIO(predictions_csv(named)))
    assert (row["file"], row["label"], row["ig"]) == ("'=a.jpg", "other", "0.125")
    scored = {
        "cutoff": 0.5,
        "cells": [{"file": "c" * 90, "granularity": 0.5, "dysplastic": True}],
        "unreadable": [],
    }
    text = predictions_text(scored)
    assert "0.5000  dysplastic" in text and max(map(len, text.splitlines())) <= 80
    (row,) = csv.DictReader(io.StringIO(predictions_csv(scored)))
    assert (row["granularity"], row["dysplastic"]) == ("0.5", "true")


def test_shares():
    assert percent(0.12345) == "12.3 %" and percent(1) == "100.0 %"


@pytest.mark.parametrize(("counts", "end"), [((100, 0), 0.25), ((90, 30), 0.5), ((10, 40), 1.0)])
def test_the_scale_holds_all_marks(counts, end):
    report = make(*counts)
    assert scale_end(report) == end >= report.dysplastic_fraction_ci95[1]
    assert scale_end(make(100, 0, threshold=0.9)) == 1.0
