"""The order of training images: balanced, even, seeded, and the same after a pause."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cellnet.augment import View
from cellnet.batches import Pool, Sampler, evaluation_batches, training_dataset
from cellnet.errors import CellnetError
from cellnet.images import write_png


def pool(label, count, draws, folder="x"):
    return Pool(label, tuple(Path(f"{folder}/{label}-{n}") for n in range(count)), draws)


def epoch(sampler, number):
    start = number * sampler.epoch_size
    return [sampler.sample(start + place) for place in range(sampler.epoch_size)]


def test_each_class_gives_the_same_number_and_every_batch_is_balanced():
    sampler = Sampler([pool(0, 3, 12), pool(1, 40, 8), pool(1, 5, 4, "y")], seed=0)
    labels = [label for _, label in epoch(sampler, 0)]
    assert Counter(labels) == {0: 12, 1: 12}
    assert all(sorted(labels[i : i + 2]) == [0, 1] for i in range(0, 24, 2))


def test_images_are_used_evenly_over_epochs():
    sampler = Sampler([pool(0, 7, 10), pool(1, 35, 10)], seed=1)
    used = Counter(path for number in range(7) for path, _ in epoch(sampler, number))
    assert {used[path] for path in sampler.pools[0].paths} == {10}
    assert {used[path] for path in sampler.pools[1].paths} == {2}


def test_order_depends_on_seed_and_epoch_alone():
    pools = [pool(0, 20, 20), pool(1, 20, 20)]
    one, two, other = Sampler(pools, 5), Sampler(pools, 5), Sampler(pools, 6)
    epoch(one, 0)  # what was read before must not matter
    assert epoch(one, 3) == epoch(two, 3)
    assert epoch(one, 3) != epoch(one, 4)
    assert epoch(one, 3) != epoch(other, 3)


def test_pools_keep_their_share():
    sampler = Sampler([pool(0, 9, 30), pool(0, 9, 10, "drawn"), pool(1, 9, 40)], seed=0)
    drawn = [path for path, _ in epoch(sampler, 2) if path.parent.name == "drawn"]
    assert len(drawn) == 10


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ([pool(0, 4, 3), pool(1, 4, 5)], "same number"),
        ([pool(0, 0, 3), pool(1, 4, 3)], "no image to train class 0"),
    ],
)
def test_what_cannot_be_balanced_is_refused(pools, message):
    with pytest.raises(CellnetError, match=message):
        Sampler(pools, 0)


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        write_png(path, rng.integers(0, 255, (50 + number, 40, 3), np.uint8))
        paths.append(path)
    return paths


def test_dataset_gives_what_the_network_takes_and_goes_on_from_any_epoch(images):
    pytest.importorskip("tensorflow", reason="tf.data needs the training extra")
    sampler = Sampler([Pool(0, tuple(images[:3]), 5), Pool(1, tuple(images[3:]), 5)], seed=2)
    views = [View(zoom=(0.8, 1.2), gain=0.1, noise=3)]
    whole = list(training_dataset(sampler, views, 32, batch=3).take(7).as_numpy_iterator())
    for pixels, labels in whole:
        assert pixels.shape == (3, 32, 32, 3)
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() <= pixels.max() <= 1
        assert labels.dtype == np.int32
    # Three batches an epoch: the tenth image of each is left out.
    resumed = training_dataset(sampler, views, 32, batch=3, start_epoch=2).take(1)
    (pixels, labels), *_ = resumed.as_numpy_iterator()
    np.testing.assert_array_equal(pixels, whole[6][0])
    np.testing.assert_array_equal(labels, whole[6][1])


def test_evaluation_batches_are_what_prediction_sees(images):
    from cellnet.images import read_image, resize

    batches = list(evaluation_batches(images, 32, batch=4))
    assert [len(batch) for batch in batches] == [4, 2]
    np.testing.assert_allclose(batches[1][1], resize(read_image(images[5]), 32) / 255, atol=1e-6)
