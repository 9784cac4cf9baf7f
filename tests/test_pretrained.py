"""Pretrained weights: Keras' own networks are the measure."""

import random

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import randomize, values

from tf_advseg.errors import InputError
from tf_advseg.models import pretrained
from tf_advseg.models.segmenter import build_segmenter, head_variables


@pytest.fixture(scope="module", autouse=True)
def _seed():
    random.seed(0)
    tf.random.set_seed(0)


@pytest.fixture(scope="module")
def small():
    return build_segmenter("small", num_classes=2)


@pytest.fixture(scope="module")
def keras_resnet50(tmp_path_factory):
    """Keras' network with random weights, and its weights file."""
    network = keras.applications.ResNet50(include_top=False, weights=None)
    randomize(network, seed=5)
    path = tmp_path_factory.mktemp("weights") / "resnet50_notop.h5"
    network.save_weights(path)
    return network, path


@pytest.fixture(scope="module")
def strided_resnet50():
    return build_segmenter("resnet50", num_classes=2, output_stride=32)


def assert_same_features(segmenter, network):
    images = np.random.default_rng(4).uniform(0, 255, (1, 70, 97, 3)).astype(np.float32)
    expected = network(keras.applications.resnet.preprocess_input(images.copy())).numpy()
    normalized = segmenter.get_layer("normalize")(images)
    features = segmenter.get_layer("resnet50")(normalized)["stage5"]
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def test_weights_file_makes_the_features_of_keras_own_network(strided_resnet50, keras_resnet50):
    network, path = keras_resnet50
    randomize(strided_resnet50, seed=6)
    head = [v.numpy() for v in head_variables(strided_resnet50)]
    pretrained.load_weights(strided_resnet50, "resnet50", str(path))
    assert_same_features(strided_resnet50, network)
    for before, after in zip(head, head_variables(strided_resnet50)):
        np.testing.assert_array_equal(before, after)


def test_imagenet_makes_the_features_of_keras_own_network(
    strided_resnet50, keras_resnet50, monkeypatch
):
    network, _ = keras_resnet50
    asked = []

    def download(**kwargs):
        asked.append(kwargs)
        return network

    monkeypatch.setattr(keras.applications, "ResNet50", download)
    randomize(strided_resnet50, seed=7)
    pretrained.load_weights(strided_resnet50, "resnet50", "imagenet")
    assert asked == [{"include_top": False, "weights": "imagenet"}]
    assert_same_features(strided_resnet50, network)


def test_layers_that_the_backbone_has_not_are_named(small, tmp_path):
    network = small.get_layer("small")
    features = network.output["stage5"]
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    classifier = keras.layers.Dense(4, name="predictions")(pooled)
    whole = keras.Model(network.input, classifier)
    for name, save in (("weights.h5", whole.save_weights), ("model.h5", whole.save)):
        save(tmp_path / name)
        assert pretrained.is_keras_file(tmp_path / name)
        left_out = pretrained.load_weights(small, "small", str(tmp_path / name))
        # One with ".weights.h5" at its end would be of another format, without layers' names.
        assert left_out == ["predictions"]


def test_damaged_list_of_layers_is_an_input_error(small, tmp_path):
    network = small.get_layer("small")
    network.save_weights(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["layer_names"] = 7
    with pytest.raises(InputError, match="cannot load --weights"):
        pretrained.load_weights(small, "small", str(tmp_path / "a.h5"))


def test_attribute_of_an_unknown_kind_is_an_input_error(small, tmp_path):
    path = tmp_path / "a.h5"
    small.get_layer("small").save_weights(path)
    content = bytearray(path.read_bytes())
    # The type of the attribute's value follows its name, which is filled up to 16 bytes.
    content[content.index(b"layer_names\0") + 16] |= 0xF0
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot load --weights"):
        pretrained.load_weights(small, "small", str(path))


def test_failing_download_is_an_input_error_that_names_the_way_out(strided_resnet50, monkeypatch):
    def download(**kwargs):
        raise Exception("URL fetch failure on https://example.org: None -- timed out")

    monkeypatch.setattr(keras.applications, "ResNet50", download)
    with pytest.raises(InputError, match=r"resnet50.*timed out.*\.h5"):
        pretrained.load_weights(strided_resnet50, "resnet50", "imagenet")


def test_imagenet_weights_of_a_backbone_without_any_are_refused(small):
    with pytest.raises(InputError, match=r"'small'.*resnet101"):
        pretrained.load_weights(small, "small", "imagenet")


@pytest.mark.parametrize("name", ["missing.h5", "broken.h5", "broken.txt", "empty.weights.h5", "."])
def test_unusable_weights_file_is_an_input_error(name, small, tmp_path):
    for broken in ("broken.h5", "broken.txt", "empty.weights.h5"):
        (tmp_path / broken).write_text("no weights")
    before = values(small)
    with pytest.raises(InputError, match="cannot load --weights"):
        pretrained.load_weights(small, "small", str(tmp_path / name))
    for old, new in zip(before, values(small)):
        np.testing.assert_array_equal(old, new)


def test_weights_file_without_the_backbones_layers_is_an_input_error(
    small, tmp_path, keras_resnet50
):
    before = values(small)
    _, path = keras_resnet50
    with pytest.raises(InputError, match=r"resnet50_notop\.h5.*stem_conv.*small"):
        pretrained.load_weights(small, "small", str(path))
    # Nor may a part of the layers be missing.
    network = small.get_layer("small")
    part = keras.Model(network.input, network.get_layer("stage4_block1_out").output)
    part.save_weights(tmp_path / "part.h5")
    with pytest.raises(InputError, match="stage4_block2"):
        pretrained.load_weights(small, "small", str(tmp_path / "part.h5"))
    for old, new in zip(before, values(small)):
        np.testing.assert_array_equal(old, new)


def test_weights_of_other_shapes_are_an_input_error(small, tmp_path):
    image = keras.Input((None, None, 3))
    other = keras.Model(image, keras.layers.Conv2D(7, 3, use_bias=False, name="stem_conv")(image))
    other.save_weights(tmp_path / "other.h5")
    with pytest.raises(InputError, match="cannot load --weights"):
        pretrained.load_weights(small, "small", str(tmp_path / "other.h5"))
