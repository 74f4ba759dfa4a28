"""Many files through the networks: in order, bounded, each answered or listed."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from bundles import make_bundles, paint_cell

from cellnet.bundle import load
from cellnet.cells import CLASSES
from cellnet.errors import CellnetError, UnreadableImage
from cellnet.scoring import CellReader, Reading, in_order, progress_bar, score_files


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_bundles(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """A cell of each class, one of none, one that is no image."""
    folder = tmp_path_factory.mktemp("cells")
    for label in (*CLASSES, "other"):
        paint_cell(folder / f"{label}.png", label, 0.3)
    (folder / "broken.png").write_bytes(b"")
    return folder


def test_answers_come_in_order_with_their_paths(models, cells):
    names = ["platelet.png", "broken.png", "basophil.png", "gone.png"]
    answers = list(score_files(load(models / "model1"), names, root=cells, threads=3))
    assert [path for path, _ in answers] == [Path(name) for name in names]
    assert CLASSES[answers[0][1].argmax()] == "platelet" and answers[0][1].shape == (8,)
    assert answers[1][1].reason == "the file is empty"
    assert CLASSES[answers[2][1].argmax()] == "basophil"
    assert isinstance(answers[3][1], UnreadableImage)


def test_another_file_than_the_one_listed_is_no_answer(models, cells):
    names = ["platelet.png", "basophil.png"]
    good = hashlib.sha256((cells / names[0]).read_bytes()).hexdigest()
    bundle = load(models / "model1")
    (_, first), (_, second) = score_files(bundle, names, root=cells, sha256=[good, good])
    assert CLASSES[first.argmax()] == "platelet"
    assert isinstance(second, UnreadableImage) and "sha256" in second.reason
    with pytest.raises(ValueError, match="shorter"):
        list(score_files(bundle, names, root=cells, sha256=[good]))


def test_scores(models, cells):
    ((_, answer),) = score_files(load(models / "dysplasianet"), [cells / "neutrophil.png"])
    assert answer.shape == (1,) and answer[0] == pytest.approx(0.3, abs=0.01)


def test_threads_do_not_change_a_bit(models, cells):
    files = sorted(cells.glob("*.png")) * 4
    bundle = load(models / "model1")

    def answers(threads):
        return [a for _, a in score_files(bundle, files, threads=threads) if len(np.shape(a))]

    assert np.array_equal(np.stack(answers(1)), np.stack(answers(4)))


def test_both_networks_on_one_decoding(models, cells):
    reader = CellReader(load(models / "model1"), load(models / "dysplasianet"))
    neutrophil = reader(cells / "neutrophil.png")
    assert isinstance(neutrophil, Reading)
    assert neutrophil.granularity == pytest.approx(0.3, abs=0.01)
    assert (neutrophil.look.height, neutrophil.look.width) == (40, 40)
    assert reader(cells / "lymphocyte.png").granularity is None
    assert isinstance(reader(cells / "broken.png"), UnreadableImage)


def test_bundles_of_the_wrong_kind_are_refused(models):
    with pytest.raises(CellnetError, match="'probabilities' is needed here"):
        CellReader(load(models / "dysplasianet"), load(models / "model1"))


@pytest.mark.parametrize("threads", [1, 3])
def test_order_is_kept_and_few_items_are_taken_ahead(threads):
    taken = []

    def items():
        for number in range(200):
            taken.append(number)
            yield number

    def work(number):
        time.sleep(0.002 * (number % 3))
        return number * number

    with closing(in_order(work, items(), threads)) as answers:
        for expected, (number, square) in enumerate(answers):
            assert (number, square) == (expected, expected * expected)
            assert len(taken) <= expected + 4 * threads
    assert len(taken) == 200


def test_an_error_arrives_at_its_place():
    def work(number):
        return 10 // number

    with closing(in_order(work, [5, 2, 0, 1], 2)) as answers:
        assert next(answers) == (5, 2)
        assert next(answers) == (2, 5)
        with pytest.raises(ZeroDivisionError):
            next(answers)


def test_stopping_early_ends_the_threads():
    before = threading.active_count()
    with closing(in_order(abs, iter(range(10**9)), 2)) as answers:
        assert next(answers) == (0, 0)
    assert threading.active_count() == before


def test_no_bar_where_there_is_no_terminal(capsys):
    items = [1, 2]
    assert progress_bar(items, "title") is items
    assert progress_bar(items, None) is items
    assert capsys.readouterr().err == ""
