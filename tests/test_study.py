"""The recipe of a study: what it may say, and the runs that follow from it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pydantic", reason="recipes need the training extra")
import yaml

from cellnet.errors import CellnetError
from cellnet.networks.dysplasianet import CANDIDATES
from cellnet.recipe import read_recipe, write_recipe
from cellnet.study import FIRST, SECOND, Study, read_study

TRAINING = Path(__file__).resolve().parents[1] / "training"
FULL, SMALL = (TRAINING / f"dysplasianet-selection{name}.yaml" for name in ("", "-small"))


@pytest.fixture(scope="module")
def full() -> Study:
    return read_study(FULL)


def written(folder: Path, **changes) -> Path:
    """The small recipe with some keys changed; ``a__b`` is b within a."""
    content = yaml.safe_load(SMALL.read_text("utf-8"))
    for key, value in changes.items():
        *path, last = key.split("__")
        part = content
        for name in path:
            part = part[name]
        part[last] = value
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_the_candidates_are_those_of_table_5_2(full):
    assert full.candidates == CANDIDATES
    assert list(full.published.parameters) == list(CANDIDATES)
    assert full.first_stage.epochs == 20
    assert (full.training.epochs, full.training.stop_at) == (100, 0.995)
    assert full.data.per_class == full.plan().train_per_class == 3000


def test_on_two_cores_only_the_first_stage_and_the_folds_are_shorter(full):
    small = read_study(TRAINING / "dysplasianet-selection-two-cores.yaml")
    assert small.run_of("M3", SECOND) == full.run_of("M3", SECOND)
    for stage in (FIRST, "cross-validation"):
        assert small.run_of("M3", stage).data.per_class == 800
        assert full.run_of("M3", stage).data.per_class == 3000
    folds = [one.run_of("M3", "cross-validation").training.epochs for one in (small, full)]
    assert folds == [8, 20]
    told = (TRAINING / "dysplasianet-selection-two-cores.yaml").read_text("utf-8")
    assert "the folds in at most 8 of them instead of 20" in told
    assert (
        small.cross_validation.model_copy(update={"epochs": 20, "per_class": None})
        == full.cross_validation
    )
    shorter = small.first_stage.model_copy(update={"per_class": None})
    assert shorter == full.first_stage
    assert (small.candidates, small.cohort, small.data) == (full.candidates, full.cohort, full.data)


def test_published_parameters_are_those_of_the_networks(full):
    pytest.importorskip("keras", reason="networks need the training extra")
    from cellnet import networks

    for name, arguments in full.candidates.items():
        built = networks.build("dysplasianet", **arguments)
        assert built.count_params() == full.published.parameters[name], name


def test_the_second_stage_of_m1_is_the_recipe_of_the_shipped_network(full):
    shipped = read_recipe(TRAINING / "dysplasianet.yaml")
    run = full.run_of("M1", SECOND)
    assert run.training == shipped.training
    assert run.network == shipped.network
    assert run.data == shipped.data
    assert run.views == shipped.views


def test_the_first_stage_is_short_and_another_beginning(full):
    first, second = full.run_of("M3", FIRST), full.run_of("M3", SECOND)
    assert (first.training.epochs, first.training.stop_at) == (20, None)
    assert first.training.seed != second.training.seed
    same = {"epochs": 1, "stop_at": None, "seed": 0}
    assert first.training.model_copy(update=same) == second.training.model_copy(update=same)
    assert first.network == second.network
    assert first.name == second.name == "dysplasianet"


def test_folds_end_by_their_own_rule(full):
    run = full.run_of("M1", "cross-validation")
    assert (run.training.epochs, run.training.stop_at) == (20, 0.995)


def test_the_small_form_has_every_part_of_the_full_one(full):
    small = read_study(SMALL)
    assert {division.by for division in small.cross_validation.divisions} == {"group", "image"}
    assert set(small.candidates) <= set(full.candidates)
    assert small.published is None  # toys are compared with nobody's patients


def test_a_resolved_recipe_is_the_same_recipe(full, tmp_path):
    write_recipe(full, tmp_path / "again.yaml")
    assert read_study(tmp_path / "again.yaml") == full


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidats": {}}, "candidats"),
        ({"first_stage__epoch": 3}, "first_stage.epoch"),
        ({"training__seed": 2}, "must differ"),
        ({"candidates": {}}, "candidates"),
        ({"candidates": {"../M1": {"blocks": 4}}}, "letters and digits"),
        ({"candidates": {"M1": {"blocks": 4}, "m1": {"blocks": 6}}}, "more than capitals"),
        ({"cohort": {"smear": 3}}, "smear is unknown"),
        ({"cohort": {"cells": [100, 30]}}, "rising"),
        ({"cohort": {"train_per_class": 3}}, "train_per_class is unknown"),
        ({"network": "model1"}, "network"),
        ({"cross_validation__divisions": [{"folds": 1, "by": "group"}]}, "folds"),
        ({"cross_validation__divisions": [{"folds": 5, "by": "luck"}]}, "by"),
        ({"cross_validation__divisions": [{"folds": 5, "by": "group"}] * 2}, "must differ"),
        ({"cross_validation__validation": 0.4}, "1 divided by a whole number.*got 0.4"),
        ({"cross_validation__validation": 0.15}, "1 divided by a whole number"),
        ({"published": {"source": "x", "by_cell": {"M1": {"luck": 1.0}}}}, "luck"),
    ],
)
def test_what_does_not_hold_is_named(tmp_path, changes, message):
    with pytest.raises(CellnetError, match=message):
        read_study(written(tmp_path, **changes))


@pytest.mark.parametrize("share", [0.5, 0.33, 0.25, 0.2, 0.17, 0.1, 0.05])
def test_parts_that_can_be_dealt_out_are_taken(tmp_path, share):
    study = read_study(written(tmp_path, cross_validation__validation=share))
    assert study.cross_validation.validation == share


def test_no_cross_validation_is_a_choice(tmp_path):
    assert read_study(written(tmp_path, cross_validation=None)).cross_validation is None
