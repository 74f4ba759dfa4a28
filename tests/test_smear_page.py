"""The page of a smear: complete, self-contained, sorted, and safe against foreign names."""

from __future__ import annotations

import base64
import os
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from bundles import make_bundles, paint_cell, paint_smear

from cellnet.cells import CLASSES
from cellnet.draw import draw_cell
from cellnet.images import write_jpeg
from cellnet.operating_point import OperatingPoint
from cellnet.predict import predict_smear
from cellnet.smear import CellRow, judge
from cellnet.smear_page import smear_page, uncertainty

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags in order; fails where they are not nested."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(autouse=True)
def models(tmp_path_factory, monkeypatch):
    home = make_bundles(tmp_path_factory.mktemp("models"))
    monkeypatch.setenv("CELLNET_MODELS", str(home))


@pytest.fixture
def smear(tmp_path):
    return paint_smear(tmp_path / "smear", normal=12, dysplastic=5, lymphocytes=3)


def test_everything_is_on_the_page(smear):
    (smear / "empty.png").write_bytes(b"")
    paint_cell(smear / "odd.png", "other")
    report = predict_smear(smear)
    page = Page(smear_page(report, smear))
    assert "MDS suspected" in page.text and "borderline" in page.text
    assert "5 of 17 neutrophils (29.4 %) dysplastic" in page.text
    assert "threshold 12.5 %" in page.text and "WHO line 10.0 %" in page.text
    assert "Dysplastic neutrophils 5 " in page.text and "Normal neutrophils 12 " in page.text
    assert "empty.png: the file is empty" in page.text
    for model in report.models.values():
        assert model["sha256"] in page.text
    for warning in report.warnings:
        assert " ".join(warning.split()) in page.text
    assert "Research use only" in page.text
    assert "fitted on test-by-cell" in page.text and "AUC 0.900" in page.text
    assert len(page.all("img")) == len(report.cells) == 21
    assert all(image["alt"] for image in page.all("img"))


def test_nothing_is_fetched_and_nothing_runs(smear):
    html = smear_page(predict_smear(smear), smear)
    page = Page(html)
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    assert "@import" not in html and "url(" not in html
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")


def test_pictures_show_the_cells(smear):
    report = predict_smear(smear)
    pictures = [image["src"] for image in Page(smear_page(report, smear)).all("img")]
    data = base64.b64decode(pictures[0].partition("base64,")[2])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (40, 40, 3)  # small ones are not blown up
    assert image[..., 0].mean() < 120  # the blue of a dysplastic cell: it stands first


def test_names_are_escaped(tmp_path):
    folder = tmp_path / '<b onload="x">&'
    paint_cell(folder / '"><script>alert(1)<' / "script>.png", "neutrophil")
    (folder / "<i>.png").write_bytes(b"")
    html = smear_page(predict_smear(folder), folder)
    page = Page(html)
    assert not page.all("script") and not page.all("b") and not page.all("i>")
    assert "<script" not in html and "&lt;i&gt;.png" in html


def test_a_file_that_is_gone_leaves_a_place(smear):
    report = predict_smear(smear)
    (smear / report.cells[0].file).unlink()
    page = Page(smear_page(report, smear))
    assert "the file is gone" in page.text and len(page.all("img")) == len(report.cells) - 1


def test_no_neutrophil_no_scale(tmp_path):
    folder = paint_smear(tmp_path / "s", normal=0, lymphocytes=3)
    page = Page(smear_page(predict_smear(folder), folder))
    assert "Indeterminate" in page.text and "WHO line" not in page.text


def cell(label="neutrophil", probability=1.0, score=None, name="a") -> CellRow:
    rest = (1 - probability) / 7
    values = [probability if c == label else rest for c in CLASSES]
    return CellRow.of(name, values, score, 0.8)


def test_uncertainty():
    assert uncertainty(cell(score=1.0), 0.8) == 0
    assert uncertainty(cell(score=0.8), 0.8) == 1
    assert uncertainty(cell(score=0.4), 0.8) == pytest.approx(0.5)
    assert uncertainty(cell(score=0.9), 0.8) == pytest.approx(0.5)
    assert uncertainty(cell("ig", 0.75), 0.8) == pytest.approx(0.5)
    assert uncertainty(cell("ig", 0.4), 0.8) == 1  # it is `other`
    for cutoff in (0.0, 1.0):
        row = CellRow.of("a", [float(c == "neutrophil") for c in CLASSES], cutoff, cutoff)
        assert uncertainty(row, cutoff) == 1


def test_second_looks_come_first(tmp_path):
    rows = [
        cell(score=1.0, name="sure-normal"),
        cell(score=0.0, name="sure-dysplastic"),
        cell(score=0.7, name="near-dysplastic"),
        cell("ig", 1.0, name="sure-ig"),
        cell("ig", 0.6, name="unsure-ig"),
        cell("ig", 0.3, name="other"),
        cell(score=0.82, name="near-normal"),
    ]
    report = judge("s", rows, OperatingPoint(0.8, 0.1))
    html = smear_page(report, tmp_path)
    order = re.findall(r'class="file" title="([^"]+)"', html)
    assert order == [
        "near-dysplastic", "sure-dysplastic", "near-normal", "sure-normal", "other", "unsure-ig",
        "sure-ig",
    ]  # fmt: skip


def test_a_large_smear_stays_a_page(tmp_path):
    write_jpeg(tmp_path / "cell.jpg", draw_cell("neutrophil", np.random.default_rng(0)))
    rows = []
    for number in range(1200):
        os.link(tmp_path / "cell.jpg", tmp_path / f"{number}.jpg")
        rows.append(cell("neutrophil" if number % 2 else "ig", score=0.9, name=f"{number}.jpg"))
    html = smear_page(judge("s", rows, OperatingPoint(0.8, 0.1)), tmp_path)
    page = Page(html)
    assert len(page.all("img")) == 1000 and "200 more are not shown here" in page.text
    assert len(html) < 8_000_000


def test_an_interval_that_counts_copies_says_so(smear):
    assert "copies counted" not in Page(smear_page(predict_smear(smear), smear)).text
    first = sorted(smear.iterdir())[0]
    (smear / f"again{first.suffix}").write_bytes(first.read_bytes())
    page = Page(smear_page(predict_smear(smear), smear))
    assert "with its exact 95 % interval (copies counted)." in page.text
