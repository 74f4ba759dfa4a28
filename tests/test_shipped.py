"""The bundles that are shipped: whole, small enough, and as good as their cards say.

Drawn smears are read everywhere; real cells where the shared data are at hand, and then only
those of the test side, as ``training/splits/pbc.csv`` remembers it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from release import DIGITS, read_split
from response import STEPS, WAYS

from cellnet.auc import area
from cellnet.bundle import load
from cellnet.cells import CLASSES, NEUTROPHIL
from cellnet.draw import draw_smear
from cellnet.granularity import segment
from cellnet.images import read_image
from cellnet.metrics import spearman
from cellnet.predict import predict_smear
from cellnet.record import read_metrics
from cellnet.scoring import in_order, score_files
from cellnet.smear import name_cell
from cellnet.verify import verify

MODELS = Path(__file__).resolve().parents[1] / "models"
NAMES = ("model1", "dysplasianet")


@pytest.fixture(scope="module")
def bundles():
    return {name: load(MODELS / name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_check_of_a_bundle_passes(name):
    found = verify(MODELS / name)
    assert found.passed, found.text()
    assert {"golden outputs", "metrics"} <= {check.name for check in found.checks}


@pytest.mark.parametrize(
    ("name", "most_bytes", "parameters"),
    [("model1", 30_000_000, 27_010_376), ("dysplasianet", 500_000, 72_977)],
)
def test_size_and_parameters(bundles, name, most_bytes, parameters):
    told = bundles[name].description
    assert bundles[name].weights.stat().st_size <= most_bytes
    assert told["network"]["parameters"] == parameters
    assert told["network"]["name"] == name
    assert (bundles[name].size, bundles[name].kind) == {
        "model1": (224, "probabilities"), "dysplasianet": (299, "granularity"),
    }[name]  # fmt: skip


def test_classes_and_operating_point(bundles):
    assert bundles["model1"].description["output"]["classes"] == list(CLASSES)
    assert bundles["dysplasianet"].description["output"]["classes"] is None
    point = bundles["dysplasianet"].operating_point()
    assert point.weights_sha256 == bundles["dysplasianet"].sha256
    assert 0 < point.cutoff < 1 and 0 < point.threshold < 1
    assert point.cell.fitted_on["split"] == "test-by-cell"
    assert point.smear.fitted_on["split"] == "test-by-smear"
    # The threshold is that of the program as it runs: over the cells that this Model 1 names.
    assert point.smear.fitted_on["classifier"]["sha256"] == bundles["model1"].sha256


def test_what_was_measured_is_of_the_shipped_operating_point(bundles):
    entries = read_metrics(bundles["dysplasianet"])
    assert {"cohort", "response-own", "response-closing", "response-median"} <= set(entries)
    point = bundles["dysplasianet"].operating_point()
    for entry in entries.values():
        assert entry["operating_point"]["created"] == point.created
    assert entries["cohort"]["classifier"]["sha256"] == bundles["model1"].sha256
    assert {"pbc-test", "float32", "hypogranulated", "zheng", "bccd"} <= set(
        read_metrics(bundles["model1"])
    )


# --- drawn smears ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[(11, 0.0, "no-dysplasia"), (12, 0.5, "mds-suspected")],
                ids=["healthy", "mds"])  # fmt: skip
def drawn(request, tmp_path_factory):
    seed, share, decision = request.param
    folder = tmp_path_factory.mktemp("drawn") / "smear"
    truth = {row.file: row for row in draw_smear(folder, seed, dysplastic_fraction=share)}
    report = predict_smear(
        folder, model1=MODELS / "model1", dysplasianet=MODELS / "dysplasianet"
    )  # fmt: skip
    return truth, report, decision


def test_drawn_smears_are_judged_and_their_cells_named(drawn):
    truth, report, decision = drawn
    assert report.decision == decision
    assert len(report.cells) == len(truth) == 60 and not report.unreadable
    right = [cell.label == truth[cell.file].label for cell in report.cells]
    assert np.mean(right) >= 0.9
    named = [cell for cell in report.cells if cell.label == truth[cell.file].label == NEUTROPHIL]
    normal = [cell for cell in named if truth[cell.file].dysplastic == "0"]
    assert np.mean([cell.dysplastic for cell in normal]) <= 0.1
    if len(normal) < len(named):
        gone = [cell.dysplastic for cell in named if truth[cell.file].dysplastic == "1"]
        # Drawn granules are not photographed ones: a smear is judged rightly, not each cell.
        assert np.mean(gone) >= 0.5


# --- real cells --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sides(shared_data):
    """Files of the shared photographs by side and class, in the order of their hashes."""
    split = read_split()
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    seen = {}
    for file in sorted((shared_data / "pbc").glob("*/*.jpg")):
        key = hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]
        if key in split and key not in seen:
            seen[key] = file
    for key in sorted(seen):
        label, side = split[key]
        assert seen[key].parent.name == label
        found[side, label].append(seen[key])
    return found


def test_the_shared_photographs_are_those_of_training(sides):
    # A hash stands once in the file, so what is on one side is on no other.
    split = read_split()
    assert {label for label, _ in split.values()} == set(CLASSES)
    assert sum(map(len, sides.values())) == len(split)


def test_the_sides_are_those_that_the_bundles_were_trained_on(bundles):
    lines = (MODELS.parent / "training/splits/pbc.csv").read_text().splitlines()
    assert len(lines) == len(read_split()) + 1
    counts: dict[str, Counter] = defaultdict(Counter)
    for label, side in read_split().values():
        counts[side][label] += 1
    assert counts == bundles["model1"].description["data"]["cells"]["counts"]


@pytest.mark.slow
def test_model_1_names_real_cells(sides, bundles):
    recalls = []
    for label in CLASSES:
        chosen = sides["test", label][:40]
        named = [name_cell(answer)[0] for _, answer in score_files(bundles["model1"], chosen)]
        recalls.append(np.mean([name == label for name in named]))
    assert len(recalls) == 8 and np.mean(recalls) >= 0.96, dict(zip(CLASSES, recalls, strict=True))


@pytest.fixture(scope="module")
def responses(sides, bundles):
    """Scores ``(cells, steps)`` of some 40 test neutrophils by operator."""
    network = bundles["dysplasianet"]
    runtime = network.runtime()

    def score(file: Path) -> dict[str, list[float]] | None:
        image = read_image(file)
        cell = segment(image)
        if cell.problem:
            return None
        return {
            way: [
                float(runtime.predict(network.prepare(take(image, cell.cytoplasm, g))[None])[0, 0])
                for g in STEPS
            ]
            for way, take in WAYS.items()
        }

    answers = [found for _, found in in_order(score, sides["test", NEUTROPHIL][:40]) if found]
    assert len(answers) >= 35
    return {way: np.array([found[way] for found in answers]) for way in WAYS}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_score_falls_with_the_granules_whoever_takes_them(responses, way):
    scores = responses[way]
    left = 1 - np.array(STEPS)
    within = [spearman(row, left) for row in scores]
    assert np.mean([0 if rho is None else rho for rho in within]) >= 0.95
    untouched, gone = scores[:, 0], scores[:, np.array(STEPS) >= 0.75].ravel()
    truth = np.repeat([False, True], [len(untouched), len(gone)])
    assert area(truth, np.concatenate([untouched, gone]), lower=True) >= 0.99
