"""Validation on several workers: each sees a part of the images, and the counts are summed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.folders import make_voc_folder
from tests.tiny_networks import tiny_discriminator
from tf_advseg.cluster import Cluster
from tf_advseg.config import train_config
from tf_advseg.data import files, pipeline, splits
from tf_advseg.data.decode import decode_image
from tf_advseg.models.layers import Normalize
from tf_advseg.recipe import Recipe
from tf_advseg.training import validation
from tf_advseg.training.trainer import AdversarialTrainer
from tf_advseg.training.validation import Validation
from tf_advseg.training.workers import Workers

CROPS = ("--eval_protocol", "random_crop", "--eval_size", "24,32")


class OneWorker(Workers):
    """One of `count` workers; the counts of all are `factor` times its own."""

    def __init__(self, index=0, count=1, factor=1):
        super().__init__(tf.distribute.get_strategy(), Cluster(("",) * count, index))
        self._factor = factor

    def summed(self, counts):
        return counts * self._factor


def counts(scores):
    maps = scores.confusion, scores.confidence.counts, scores.probability.counts
    return (*maps, np.array(scores.images))


@pytest.fixture(scope="module")
def measure(tmp_path_factory):
    """Measures one pair of networks on five images, as a worker sees them."""
    folder = make_voc_folder(tmp_path_factory.mktemp("data") / "voc", train=2, val=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_ADVSEG_CACHE", str(folder / "cache"))
        dataset = files.open_dataset("folder", folder)
        split = splits.by_fraction(dataset, "train", 0.5, 0)
        found = files.training_files(dataset, split, "val", uses_unlabeled=True)
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = Normalize("deeplab", name="normalize")(image)
    logits = keras.layers.Conv2D(3, 3, padding="same")(x)
    trainer = AdversarialTrainer(keras.Model(image, logits), tiny_discriminator(), Recipe())

    def measure(workers, *protocol, only_build=False):
        config = train_config(["--dataset", "folder", "--data_dir", str(folder), *protocol])
        built = Validation(config, found, trainer, workers)
        return built if only_build else built.measure()

    return measure


@pytest.mark.parametrize("protocol", [(), CROPS], ids=["full", "random_crop"])
def test_parts_of_all_workers_add_up_to_the_whole(measure, protocol):
    whole, strips = measure(OneWorker(), *protocol)
    (first, of_first), (second, _) = (measure(OneWorker(i, 2), *protocol) for i in (0, 1))
    assert (first.images, second.images) == (2, 3)
    for parts, expected in zip(zip(counts(first), counts(second)), counts(whole), strict=True):
        np.testing.assert_array_equal(sum(parts), expected)
    parts = first.cross_entropy_sum + second.cross_entropy_sum
    assert parts == pytest.approx(whole.cross_entropy_sum, rel=1e-6)
    assert whole.cross_entropy > 0.5
    assert np.count_nonzero(whole.confusion.sum(axis=0)) > 1
    assert list(strips) == ["val_0", "val_1", "val_2", "val_3"]
    assert list(of_first) == ["val_0", "val_1"]
    for name, strip in of_first.items():
        np.testing.assert_array_equal(strip, strips[name])
    assert not np.array_equal(strips["val_0"], strips["val_1"])


def test_strips_are_spread_over_the_images(measure, monkeypatch):
    monkeypatch.setattr(validation, "_STRIPS", 2)
    assert list(measure(OneWorker())[1]) == ["val_0", "val_2"]
    assert list(measure(OneWorker(1, 2))[1]) == ["val_2", "val_3"]


def test_scores_are_those_of_all_workers_together(measure):
    (alone, _), (together, _) = measure(OneWorker()), measure(OneWorker(factor=3))
    for own, of_all in zip(counts(alone), counts(together), strict=True):
        np.testing.assert_array_equal(of_all, 3 * own)
    assert isinstance(together.images, int)
    assert together.cross_entropy_sum == 3 * alone.cross_entropy_sum
    assert together.cross_entropy == pytest.approx(alone.cross_entropy)
    assert together.mean_iou == pytest.approx(alone.mean_iou)
    assert together.selected_fraction == pytest.approx(alone.selected_fraction)


@pytest.mark.parametrize("protocol", [(), CROPS], ids=["full", "random_crop"])
def test_further_measure_gives_the_same_and_builds_no_graph(measure, protocol, monkeypatch):
    """TensorFlow keeps what it builds: with every validation a long run took more memory."""
    built = []

    def decode(data):
        built.append(data)
        return decode_image(data)

    monkeypatch.setattr(pipeline, "decode_image", decode)
    validating = measure(OneWorker(), *protocol, only_build=True)
    first, strips = validating.measure()
    before = len(built)
    second, again = validating.measure()
    assert len(built) == before > 0
    for one, other in zip(counts(first), counts(second), strict=True):
        np.testing.assert_array_equal(one, other)
    assert list(strips) == list(again)


def test_worker_without_an_image_adds_nothing(measure):
    scores, strips = measure(OneWorker(0, 9))
    assert (scores.images, scores.confusion.sum(), strips) == (0, 0, {})
    assert scores.cross_entropy_sum == 0
