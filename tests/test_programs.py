"""The programs that measure: what they type by themselves, and that only named steps write here."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("yaml", reason="the programs need the training extra")
import explanations
import programs
import selections
import specialists
import transfers
import unknowns

from cellnet.transfer_recipe import SvmStudy, read_transfer

TYPED = {
    unknowns: ["data prepare", "train", "train", "unknown", "unknown"],
    specialists: ["data prepare", "train"],
    transfers: ["data draw", "train", "transfer", "transfer", "transfer", "transfer"],
    selections: [
        "select",
        *("data prepare", "data simulate", "select"),  # labels
        *("data prepare", "data simulate", "select", "select"),  # times
    ],
}


def name_of(module) -> str:
    return module.__name__


@pytest.fixture
def typed(monkeypatch):
    found: list[list[str]] = []
    for module in (*TYPED, explanations):
        monkeypatch.setattr(module, "run", lambda *words: found.append([str(it) for it in words]))
    monkeypatch.setattr(selections, "_keep_one_kind", lambda *_: None)  # nothing was simulated
    return found


def start(module, monkeypatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, words)])
    module.main()


@pytest.mark.parametrize("module", TYPED, ids=name_of)
def test_without_a_named_step_nothing_of_the_project_is_written(
    module, typed, tmp_path, monkeypatch
):
    docs = tmp_path / "results.md"
    start(module, monkeypatch, "--runs", tmp_path / "runs", "--data", "cells", "--docs", docs)
    two = {"data", "prepare", "simulate", "draw"}
    assert [" ".join(it for it in words[:2] if it in two or it == words[0]) for words in typed] == (
        TYPED[module]
    )
    assert all("None" not in words for words in typed)
    assert not docs.exists()


@pytest.mark.parametrize("module", [*TYPED, explanations], ids=name_of)
def test_a_step_that_is_none_is_told_before_any_is_made(
    module, typed, tmp_path, monkeypatch, capsys
):
    with pytest.raises(SystemExit) as ended:
        start(module, monkeypatch, "docs", "dogs", "--runs", tmp_path, "--docs", tmp_path / "x.md")
    assert ended.value.code == 2
    assert "there is no step 'dogs'" in capsys.readouterr().err
    assert typed == [] and not (tmp_path / "x.md").exists()


@pytest.mark.parametrize("module", [*TYPED, explanations], ids=name_of)
def test_missing_cells_are_told(module, typed, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("CELLNET_DATA", raising=False)
    with pytest.raises(SystemExit) as ended:
        start(module, monkeypatch, "--runs", tmp_path)
    assert ended.value.code == 2
    assert "needs --data" in capsys.readouterr().err
    assert typed == []


def test_cells_may_stand_in_the_environment(typed, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLNET_DATA", "cells")
    start(specialists, monkeypatch, "data", "--runs", tmp_path)
    assert typed[0][:3] == ["data", "prepare", "cells"]


def test_recipes_find_the_backbone_that_was_trained(typed, tmp_path, monkeypatch):
    runs = tmp_path / "elsewhere"
    start(transfers, monkeypatch, "--runs", runs, "--data", "cells")
    recipes = [words[1] for words in typed if words[0] == "transfer"]
    weights = {
        source.weights
        for recipe in map(read_transfer, recipes)
        for source in (recipe.features if isinstance(recipe, SvmStudy) else recipe.backbones)
    } - {"random", "model1"}
    assert weights == {str(runs / "backbone-drawn" / "best.weights.h5")}


def test_a_bundle_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SystemExit, match="finish the run first"):
        programs.copy_bundle(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()
