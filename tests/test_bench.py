"""The benchmarks run and say what they must; their numbers are taken by ``make bench``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import make_bundles

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "tests" / "bench" / "run.py"
PREDICTING = ("smear", "overlap", "cohort")


def bench(*arguments, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(RUN), *(str(argument) for argument in arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> tuple[dict, str, Path]:
    """What a quick run wrote, what it printed, and the folder."""
    folder = tmp_path_factory.mktemp("bench")
    # Tiny bundles: the shipped ones are measured by `make bench`.
    models = make_bundles(folder / "models")
    result = bench("--out", folder, "--quick", CELLNET_MODELS=str(models))
    assert result.returncode == 0, result.stderr
    return json.loads((folder / "bench.json").read_text("utf-8")), result.stdout, folder


@pytest.mark.slow
def test_training_is_compared_with_plain_keras(quick):
    found = quick[0]["details"]["training"]
    assert {"cellnet", "cellnet, data in memory", "plain"} <= set(found["images_per_second"])
    assert all(speed > 0 for speed in found["images_per_second"].values())
    assert 0 <= found["input_share"] < 1


@pytest.mark.slow
def test_every_claim_has_a_row_with_its_ratio(quick):
    result, printed, _ = quick
    assert result["quick"]
    assert result["machine"]["cores"] >= 1
    targets = [row["target"] for row in result["results"] if row["target"]]
    assert ">= 1.5" in targets
    for row in result["results"]:
        assert row["ratio"] >= 0
        assert row["what"] in printed
    assert "these numbers mean nothing" in printed


@pytest.mark.slow
def test_predicting_is_compared_with_plain_keras(quick):
    details = quick[0]["details"]
    assert set(PREDICTING) <= set(details)
    assert details["smear"]["cells"] == 6
    assert details["cohort"]["sizes"] == [10, 40]
    assert {">= 6", "<= 1.1"} <= {row["target"] for row in quick[0]["results"]}


@pytest.mark.slow
def test_a_quick_run_does_not_reach_the_page(quick, tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text("untouched", encoding="utf-8")
    result = bench("--out", quick[2], "--write-docs", page)
    assert result.returncode == 1
    assert "holds no full run" in result.stderr
    assert page.read_text("utf-8") == "untouched"


def test_the_page_needs_a_run_first(tmp_path):
    result = bench("--out", tmp_path, "--write-docs", ROOT / "docs" / "benchmarks.md")
    assert result.returncode == 1
    assert "make bench" in result.stderr
