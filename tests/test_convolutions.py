"""The convolutions: values by hand, and the same as Keras' plain ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.models import convolutions
from tf_advseg.models.convolutions import Conv2D, SymmetricConv2D, TapwiseConv2D
from tf_advseg.models.normalization import FoldedBatchNormalization


def outputs_and_gradients(layer, image):
    """The output, and the gradients of a weighted sum of it: of the image, kernel and bias."""
    with tf.GradientTape() as tape:
        tape.watch(image)
        output = layer(image)
        weights = tf.random.stateless_normal(output.shape, (5, 6), dtype=output.dtype)
        loss = tf.reduce_sum(output * weights)
    return [output, *tape.gradient(loss, [image, *layer.trainable_variables])]


def assert_same(own, other, image, tolerance=1e-5):
    """Asserts that two layers have the same output and gradients, with the weights of `other`."""
    expected = outputs_and_gradients(other, image)
    own(image)
    own.set_weights(other.get_weights())
    for value, wanted in zip(outputs_and_gradients(own, image), expected, strict=True):
        value, wanted = (np.asarray(tf.cast(v, tf.float32)) for v in (value, wanted))
        assert np.abs(value - wanted).max() <= tolerance * max(np.abs(wanted).max(), 1)


SIZES = [(9, 13), (41, 41), (3, 3), (1, 2)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dilation", [2, 4, 24])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_dilated_convolution_equals_keras_own(size, dilation, dtype, tolerance):
    options = {"dilation_rate": dilation, "padding": "same", "dtype": dtype}
    image = tf.random.stateless_normal([2, *size, 5], (1, 2), dtype=dtype)
    plain = keras.layers.Conv2D(7, 3, **options)
    assert_same(Conv2D(7, 3, **options), plain, image, tolerance)


def test_dilated_convolution_needs_no_rearranged_input():
    layer = Conv2D(7, 3, dilation_rate=2, padding="same")
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec([1, None, None, 5])).graph
    assert "SpaceToBatchND" not in {operation.type for operation in graph.get_operations()}


def test_dilated_convolution_without_such_kernels_equals_keras_own(monkeypatch):
    monkeypatch.setattr(convolutions, "_kernels_dilate", lambda dtype: False)
    options = {"dilation_rate": 2, "padding": "same"}
    layer = Conv2D(7, 3, **options)
    image = tf.random.stateless_normal([2, 9, 13, 5], (1, 2))
    assert_same(layer, keras.layers.Conv2D(7, 3, **options), image)
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec([1, None, None, 5])).graph
    assert "SpaceToBatchND" in {operation.type for operation in graph.get_operations()}


def test_float16_trains_where_its_kernels_do_not_dilate():
    layer = Conv2D(2, 3, dilation_rate=2, padding="same", dtype="float16")
    for value in outputs_and_gradients(layer, tf.ones([1, 5, 5, 1], tf.float16)):
        assert np.isfinite(value).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 6), (3, 24), ((1, 5), 2)])
def test_tapwise_convolution_equals_keras_own(size, kernel, dilation):
    options = {"dilation_rate": dilation, "padding": "same", "bias_initializer": "ones"}
    image = tf.random.stateless_normal([2, *size, 5], (1, 2))
    plain = keras.layers.Conv2D(7, kernel, **options)
    assert_same(TapwiseConv2D(7, kernel, dilation_rate=dilation), plain, image)


def test_tapwise_convolution_of_bfloat16_rounds_each_tap_once():
    layer = TapwiseConv2D(1, 3, kernel_initializer="ones", use_bias=False, dtype="mixed_bfloat16")
    # Eight taps of 0.3 and one of 256 are 258.4. bfloat16 has 256 and 258, and 256 + 0.9 is 256.
    image = tf.tensor_scatter_nd_update(tf.fill([1, 3, 3, 1], 0.3), [[0, 0, 0, 0]], [256.0])
    assert layer(image).dtype == tf.bfloat16
    assert float(layer(image)[0, 1, 1, 0]) == 258


@pytest.mark.parametrize(("kernel", "options"), [(2, {}), ((3, 4), {}), (3, {"strides": 2})])
def test_tapwise_convolution_refuses_what_it_cannot_do(kernel, options):
    with pytest.raises(ValueError, match="allowed: odd sizes, stride 1"):
        TapwiseConv2D(1, kernel, **options)


def folded(kind, use_bias, dtype="float32"):
    """A convolution of two channels and the norm that is folded into it."""
    layer = kind(2, 3, use_bias=use_bias, dtype=dtype, name="conv")
    norm = FoldedBatchNormalization(epsilon=0.5, name="norm")
    layer.fold(norm)
    return layer, norm


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("kind", [Conv2D, SymmetricConv2D])
def test_folded_norm_scales_and_shifts_the_output(kind, use_bias):
    layer, norm = folded(kind, use_bias)
    image = tf.random.stateless_normal([1, 6, 7, 3], (1, 2))
    layer(image)
    if use_bias:
        layer.bias.assign([0.25, -1.0])
    # scale 3 / sqrt(1.75 + 0.5) = 2 and 1 / sqrt(3.5 + 0.5) = 0.5
    norm.set_weights(np.array([[3.0, 1.0], [10.0, -20.0], [4.0, 6.0], [1.75, 3.5]]))
    plain = kind(2, 3, use_bias=use_bias)
    plain(image)
    plain.set_weights(layer.get_weights())
    expected = (plain(image) - [4.0, 6.0]) * [2.0, 0.5] + [10.0, -20.0]
    np.testing.assert_allclose(norm(layer(image)), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(norm(layer(image), training=True), expected, rtol=1e-5, atol=1e-5)
    layer.bake()
    np.testing.assert_allclose(norm(layer(image)), expected, rtol=1e-5, atol=1e-5)
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec([1, None, None, 3])).graph
    assert "Mul" not in {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("compile_it", [False, True])
@pytest.mark.parametrize("kind", [Conv2D, SymmetricConv2D])
def test_folded_norm_has_the_gradients_of_one_that_is_not(kind, compile_it):
    layer, norm = folded(kind, use_bias=True)
    image = tf.random.stateless_normal([2, 6, 7, 3], (1, 2))
    layer(image)
    norm.set_weights(np.array([[3.0, 1.0], [10.0, -20.0], [4.0, 6.0], [1.75, 3.5]]))
    plain, apart = kind(2, 3, name="conv"), FoldedBatchNormalization(epsilon=0.5, name="norm")
    apart(plain(image))
    plain.set_weights(layer.get_weights())
    apart.set_weights(norm.get_weights())
    network = keras.Sequential([keras.Input([None, None, 3]), plain, apart])
    find = tf.function(outputs_and_gradients) if compile_it else outputs_and_gradients
    for value, wanted in zip(find(layer, image), outputs_and_gradients(network, image)):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-4)


def test_scaled_kernels_are_made_again_for_the_gradient():
    layer, _ = folded(Conv2D, use_bias=False)
    spec = tf.TensorSpec([1, 6, 7, 3])
    graph = tf.function(lambda x: outputs_and_gradients(layer, x)).get_concrete_function(spec).graph
    made = [
        operation
        for operation in graph.get_operations()
        if operation.type == "Mul" and operation.outputs[0].shape == layer.kernel.shape
    ]
    # Once for the output; once for the gradient, after the output's; and the kernel's own gradient
    # is scaled.
    assert len(made) == 3
    (again,) = (operation for operation in made if operation.control_inputs)
    (upstream,) = again.control_inputs
    assert upstream.outputs[0].shape == [1, 4, 5, 2]


def test_folded_norm_keeps_its_own_names_and_learns_nothing():
    layer, norm = folded(Conv2D, use_bias=False)
    layer(tf.zeros([1, 5, 5, 3]))
    assert [v.name for v in layer.weights] == ["conv/kernel:0"]
    names = ["gamma", "beta", "moving_mean", "moving_variance"]
    assert [v.name for v in norm.weights] == [f"norm/{name}:0" for name in names]
    assert norm.trainable_variables == []


def test_folded_kernel_is_scaled_before_it_is_rounded():
    layer, norm = folded(Conv2D, use_bias=False, dtype="mixed_bfloat16")
    image = tf.pad(tf.ones([1, 1, 1, 1]), [[0, 0], [1, 1], [1, 1], [0, 0]])
    layer(image)
    # Both round to 1 in bfloat16, which has 8 bits; their product, 1.0077, to 1.0078125.
    layer.kernel.assign(tf.fill(layer.kernel.shape, 1.0038))
    norm.set_weights(np.array([[1.0038] * 2, [0.0] * 2, [0.0] * 2, [0.5] * 2]))
    assert float(tf.cast(1.0038, tf.bfloat16)) == 1
    assert layer(image).dtype == tf.bfloat16
    assert float(layer(image)[0, 0, 0, 0]) == 1.0078125


def test_norm_that_is_not_folded_uses_its_stored_statistics():
    norm = FoldedBatchNormalization(epsilon=0.0)
    image = tf.fill([1, 1, 2, 1], 5.0)
    norm(image)
    norm.set_weights(np.array([[3.0], [1.0], [4.0], [0.25]]))
    for training in (False, True):
        np.testing.assert_allclose(norm(image, training=training), tf.fill([1, 1, 2, 1], 7.0))


def test_norm_is_not_folded_behind_an_activation():
    with pytest.raises(ValueError, match="conv is built or has an activation"):
        Conv2D(1, 3, activation="relu", name="conv").fold(FoldedBatchNormalization())


@pytest.mark.parametrize("kind", [Conv2D, TapwiseConv2D, FoldedBatchNormalization])
def test_layers_come_back_from_their_config(kind):
    layer = kind(name="own") if kind is FoldedBatchNormalization else kind(2, 3, name="own")
    rebuilt = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(rebuilt) is kind
    assert rebuilt.get_config() == layer.get_config()


def test_symmetric_convolution_pads_all_sides_alike():
    layer = SymmetricConv2D(1, 4, 2, kernel_initializer="ones", use_bias=False)
    # Windows of rows -1 to 2 and 1 to 4 of a 5x5 map of ones.
    assert layer(tf.ones([1, 5, 5, 1])).numpy()[0, :, :, 0].tolist() == [[9, 12], [12, 16]]


def test_symmetric_convolution_pads_as_much_as_it_is_told():
    layer = SymmetricConv2D(1, 4, 2, pad=2, kernel_initializer="ones", use_bias=False)
    # Windows of rows -2 to 1, 0 to 3 and 2 to 5 of a 5x5 map of ones.
    assert layer(tf.ones([1, 5, 5, 1])).numpy()[0, :, :, 0].tolist() == [
        [4, 8, 6],
        [8, 16, 12],
        [6, 12, 9],
    ]
    assert layer.compute_output_shape((1, 5, 5, 1)).as_list() == [1, 3, 3, 1]


def test_symmetric_convolution_pads_as_far_as_it_is_dilated():
    layer = SymmetricConv2D(1, 3, dilation_rate=2, kernel_initializer="ones", use_bias=False)
    same = keras.layers.Conv2D(
        1, 3, dilation_rate=2, kernel_initializer="ones", use_bias=False, padding="same"
    )
    image = tf.random.stateless_normal([1, 7, 9, 2], (0, 1))
    np.testing.assert_allclose(layer(image), same(image), rtol=1e-5, atol=1e-6)


def test_symmetric_convolution_of_a_map_smaller_than_its_window_has_one_window():
    layer = SymmetricConv2D(1, 4, 2, kernel_initializer="ones", use_bias=False)
    assert layer(tf.ones([1, 1, 2, 1])).numpy().ravel().tolist() == [2]
    assert layer(tf.ones([1, 1, 5, 1])).numpy().ravel().tolist() == [3, 4]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 321])
def test_symmetric_convolution_says_its_output_shape(size):
    for dilation, stride in ((1, 2), (2, 1)):
        layer = SymmetricConv2D(3, 4, stride, dilation_rate=dilation)
        image = tf.zeros([2, size, 5, 1])
        assert layer.compute_output_shape(image.shape) == layer(image).shape
    assert layer.compute_output_shape((None, None, 5, 1)).as_list()[:2] == [None, None]


def test_symmetric_convolution_comes_back_from_its_config():
    layer = SymmetricConv2D(2, 4, 2, name="conv")
    config = keras.saving.serialize_keras_object(layer)
    rebuilt = keras.saving.deserialize_keras_object(config)
    assert type(rebuilt) is SymmetricConv2D
    assert rebuilt.get_config() == layer.get_config()
