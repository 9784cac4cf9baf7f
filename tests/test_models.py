"""Every registered backbone with every head, by one routine."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_zoo import every_pair, every_pair_costly, is_light, picture
from tiny_networks import randomize

from tf_advseg.errors import InputError
from tf_advseg.models.segmenter import build_segmenter, head_variables, padding_color

CLASSES = 5


@pytest.fixture(scope="module", autouse=True)
def _seed():
    random.seed(0)
    tf.random.set_seed(0)


@pytest.fixture(scope="module")
def pair(request):
    """A backbone's and a head's name, and their segmenter."""
    backbone, head = request.param
    segmenter = build_segmenter(backbone, head, num_classes=CLASSES)
    randomize(segmenter)
    return backbone, head, segmenter


def loss_and_gradients(segmenter, images, training):
    with tf.GradientTape() as tape:
        logits = segmenter(images, training=training)
        loss = tf.reduce_mean(tf.nn.softmax(logits)[..., 0])
    return loss, tape.gradient(loss, segmenter.trainable_variables)


@every_pair
def test_logits_have_the_size_of_the_image(pair):
    *_, segmenter = pair
    assert segmenter.output_shape == (None, None, None, CLASSES)
    for height, width in ((1, 1), (33, 49), (65, 97), (40, 25)):
        logits = segmenter(picture(height, width, batch=2))
        assert logits.shape == (2, height, width, CLASSES)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()
    # Not the same everywhere, nor the same for both images.
    assert logits.numpy().std(axis=(0, 1, 2)).min() > 0


@every_pair
def test_gradients_reach_every_weight(pair):
    *_, segmenter = pair
    # The population's statistics: under a batch's own, a bias before batch norm has no gradient.
    _, gradients = loss_and_gradients(segmenter, picture(33, 49, batch=2), training=False)
    for variable, gradient in zip(segmenter.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient).all(), variable.name
        assert np.any(gradient), variable.name


@every_pair
def test_head_variables_are_those_outside_of_the_backbone(pair):
    backbone, _, segmenter = pair
    in_backbone = {v.ref() for v in segmenter.get_layer(backbone).trainable_variables}
    everything = {v.ref() for v in segmenter.trainable_variables}
    in_head = {v.ref() for v in head_variables(segmenter)}
    assert in_head
    assert in_head == everything - in_backbone


@every_pair_costly
def test_training_with_one_small_image_stays_finite(pair):
    *_, segmenter = pair
    before = segmenter.get_weights()
    loss, gradients = loss_and_gradients(segmenter, picture(17, 9), training=True)
    assert np.isfinite(loss)
    for variable, gradient in zip(segmenter.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.name
    for variable in segmenter.weights:
        assert np.isfinite(variable).all(), variable.name
    segmenter.set_weights(before)


@every_pair_costly
def test_saved_segmenter_predicts_the_same(pair, tmp_path):
    *_, segmenter = pair
    images = picture(33, 47)
    expected = segmenter(images).numpy()
    segmenter.save(tmp_path / "segmenter.keras")
    reloaded = keras.models.load_model(tmp_path / "segmenter.keras", compile=False)
    np.testing.assert_array_equal(reloaded(images), expected)
    assert padding_color(reloaded) == padding_color(segmenter)
    # The same layers take the weights alone, too.
    segmenter.save_weights(tmp_path / "segmenter.weights.h5")
    randomize(reloaded, seed=1)
    reloaded.load_weights(tmp_path / "segmenter.weights.h5")
    for saved, loaded in zip(segmenter.weights, reloaded.weights, strict=True):
        np.testing.assert_array_equal(saved, loaded)


@every_pair_costly
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_weights_and_logits_in_float32(pair, precision, tmp_path):
    backbone, head, reference = pair
    if precision == "mixed_float16" and not is_light(backbone):
        pytest.skip("float16 is slow on a CPU")
    segmenter = build_segmenter(backbone, head, num_classes=CLASSES, precision=precision)
    assert {v.dtype for v in segmenter.weights} == {tf.float32}
    compute = {layer.compute_dtype for layer in segmenter.get_layer(backbone).layers}
    assert precision.removeprefix("mixed_") in compute
    segmenter.set_weights(reference.get_weights())
    images = picture(33, 47)
    logits, expected = segmenter(images), reference(images).numpy()
    assert logits.dtype == tf.float32
    # bfloat16 keeps 8 bits of each of the many factors.
    assert np.abs(logits - expected).max() < 0.1 * np.abs(expected).max()
    assert np.abs(logits - expected).max() > 0
    loss, gradients = loss_and_gradients(segmenter, picture(33, 49), training=True)
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@every_pair_costly
@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_exported_segmenter_predicts_the_same(pair, precision, tmp_path):
    backbone, head, segmenter = pair
    if precision != "float32":
        segmenter = build_segmenter(backbone, head, num_classes=CLASSES, precision=precision)
        segmenter.set_weights(pair[2].get_weights())
    # Not `save`: Keras then traces every layer of its own, for half a minute.
    segmenter.export(tmp_path / "exported")
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    for height, width in ((33, 47), (65, 16)):
        images = tf.constant(picture(height, width))
        expected = segmenter(images).numpy()
        # A graph may be rewritten, so that sums are rounded in another order.
        tolerance = 1e-4 if precision == "float32" else 0.05
        difference = np.abs(exported.serve(images) - expected).max()
        assert difference <= tolerance * np.abs(expected).max()


def test_global_policy_is_as_before_building():
    before = keras.mixed_precision.global_policy().name
    build_segmenter("small", num_classes=2, precision="mixed_bfloat16")
    assert keras.mixed_precision.global_policy().name == before
    with pytest.raises(InputError, match="small"):
        build_segmenter("none such", num_classes=2, precision="mixed_bfloat16")
    assert keras.mixed_precision.global_policy().name == before


def test_unknown_parts_are_refused_with_the_known_names():
    with pytest.raises(InputError, match=r"'other'.*resnet101"):
        build_segmenter("other", num_classes=2)
    with pytest.raises(InputError, match=r"'other'.*deeplabv2"):
        build_segmenter("small", "other", num_classes=2)
