"""Convolutions that compute what Keras' do, faster; and what PyTorch's pad otherwise."""

import functools
from typing import Any

import keras
import tensorflow as tf

from tf_advseg.models.normalization import FoldedBatchNormalization


@keras.saving.register_keras_serializable("tf_advseg")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution, dilated by the kernel itself, and with a frozen batch norm folded in.

    Keras rearranges a dilated convolution's input, so that its pixels lie next to each other, and
    its output back again. The kernels of oneDNN and cuDNN dilate by themselves.

    Weights and names are those of Keras.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._norm = None
        self._for_inference = False

    def fold(self, norm: FoldedBatchNormalization) -> None:
        """Takes over what a frozen batch norm does to the output; call it before the first call."""
        if self.built or self.activation is not keras.activations.linear:
            raise ValueError(f"{self.name} is built or has an activation; no norm can be folded in")
        # Not an attribute of its own: the norm's weights would then be this layer's as well.
        self._norm = lambda: norm
        norm.folded = True
        with tf.name_scope(norm.name):
            norm.build((None, None, None, self.filters))

    def bake(self) -> None:
        """Makes the kernel and the bias what they are with the norm; it is not needed any more."""
        self._for_inference = True
        if self._norm is None:
            return
        scale, shift = self._norm().scale_and_shift()
        bias = shift if self.bias is None else shift + scale * self.bias
        self.kernel.assign(self.kernel * scale)
        self.bias, self.use_bias = tf.Variable(bias, name="bias"), True
        self._norm = None

    def add_weight(self, name: str | None = None, **kwargs: Any) -> tf.Variable:
        if self._norm is not None:
            # Scaled in float32, and rounded to a lower precision only then.
            kwargs["experimental_autocast"] = False
        return super().add_weight(name=name, **kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self._norm is None:
            return super().call(inputs)
        scale, shift = self._norm().scale_and_shift()
        bias = shift if self.bias is None else shift + scale * self.bias
        outputs = self._scaled_convolution(inputs, tf.convert_to_tensor(self.kernel), scale)
        return tf.nn.bias_add(outputs, tf.cast(bias, self.compute_dtype))

    def _scaled_convolution(
        self, inputs: tf.Tensor, kernel: tf.Tensor, scale: tf.Tensor
    ) -> tf.Tensor:
        """Convolves with a kernel whose filters are scaled, and scales them anew for the gradient.

        Else all scaled kernels would be kept from the forward pass to the backward one.
        """

        def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
            return self.convolution_op(inputs, tf.cast(kernel * scale, self.compute_dtype))

        @tf.custom_gradient
        def convolution(inputs: tf.Tensor, kernel: tf.Tensor):
            def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
                # Without the dependency TensorFlow would take the forward pass's kernel after all.
                # (That one has none on its input: TensorFlow, fusing the two, makes it a cycle.)
                # The convolution itself is not made again, for no gradient needs its output.
                with tf.control_dependencies([upstream]), tf.GradientTape() as tape:
                    tape.watch([inputs, kernel])
                    outputs = convolve(inputs, kernel)
                return tape.gradient(outputs, [inputs, kernel], upstream)

            return convolve(inputs, kernel), gradient

        return convolution(inputs, kernel)

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if max(self.dilation_rate) == 1 or not _kernels_dilate(inputs.dtype):
            return super().convolution_op(inputs, kernel)
        return tf.nn.conv2d(
            inputs, kernel, self.strides, self._dilated_padding(), dilations=self.dilation_rate
        )

    def _dilated_padding(self) -> str | list[tuple[int, int]]:
        """Returns the padding, in numbers of pixels where the layer is for inference.

        ONNX Runtime knows no "same" of dilated kernels, and TensorFlow no gradient of numbers.
        """
        if self.padding == "valid" or max(self.strides) > 1 or not self._for_inference:
            return self.padding.upper()
        reach = [d * (k - 1) for d, k in zip(self.dilation_rate, self.kernel_size, strict=True)]
        return [(0, 0), *((total // 2, total - total // 2) for total in reach), (0, 0)]


def bake(network: keras.Model) -> None:
    """Bakes every frozen norm that was folded in, so that inference needs not scale the kernels.

    The network computes the same, up to rounding. It is not fit for training, or for a checkpoint,
    any more.
    """
    for layer in network.submodules:
        if isinstance(layer, Conv2D):
            layer.bake()


@functools.cache
def _kernels_dilate(dtype: tf.DType) -> bool:
    """Whether this machine has the gradient of a dilated convolution.

    TensorFlow's own kernels for the CPU have not; oneDNN's have, which TensorFlow is built with on
    Linux on x86-64, but not for float16.
    """
    options = {"strides": [1] * 4, "padding": "SAME", "dilations": [1, 2, 2, 1]}
    with tf.init_scope():
        image, kernel = tf.ones([1, 4, 4, 1], dtype), tf.ones([3, 3, 1, 1], dtype)
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=image.shape, filter=kernel, out_backprop=image, **options
            )
            tf.raw_ops.Conv2DBackpropFilter(
                input=image, filter_sizes=kernel.shape, out_backprop=image, **options
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


@keras.saving.register_keras_serializable("tf_advseg")
class SymmetricConv2D(Conv2D):
    """A convolution that pads all four sides alike, as PyTorch's.

    Where it strides, TensorFlow's "same" may pad one side more than the other. A map that is too
    small for one window, which PyTorch refuses, is padded at the end until it has one.

    Args:
      filters: as in Keras.
      kernel_size: as in Keras.
      pad: pixels on each side; None means (kernel - 1) // 2, times the dilation.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        *args: Any,
        pad: int | None = None,
        **kwargs: Any,
    ):
        kwargs["padding"] = "valid"
        super().__init__(filters, kernel_size, *args, **kwargs)
        self.pad = pad

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pad": self.pad}

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        sizes = tf.unstack(tf.shape(inputs)[1:3])
        padding = [self._padding(axis, size) for axis, size in enumerate(sizes)]
        return super().convolution_op(tf.pad(inputs, [[0, 0], *padding, [0, 0]]), kernel)

    def compute_output_shape(self, input_shape: tuple) -> tf.TensorShape:
        batch, *sizes, _ = tf.TensorShape(input_shape).as_list()
        lengths = (
            None if size is None else self._output_size(axis, size)
            for axis, size in enumerate(sizes)
        )
        return tf.TensorShape([batch, *lengths, self.filters])

    def _output_size(self, axis: int, size: int) -> int:
        room = size + 2 * self._before(axis) - self._reach(axis) - 1
        return max(0, room) // self.strides[axis] + 1

    def _padding(self, axis: int, size: tf.Tensor) -> list:
        before = self._before(axis)
        return [before, tf.maximum(before, self._reach(axis) + 1 - before - size)]

    def _before(self, axis: int) -> int:
        return self._reach(axis) // 2 if self.pad is None else self.pad

    def _reach(self, axis: int) -> int:
        """Returns how far the last pixel of a window is from its first."""
        return self.dilation_rate[axis] * (self.kernel_size[axis] - 1)


@keras.saving.register_keras_serializable("tf_advseg")
class TapwiseConv2D(keras.layers.Conv2D):
    """A convolution to few channels with few, far taps: one matrix product, then shifted sums.

    The product makes the maps of all taps at once, at the speed of matrix products. Each map is
    then moved by its tap's distance and added. A plain convolution of large dilation and few output
    channels runs at a fifth of that speed on processors.

    Padding is "same", the stride 1, and height and width of the kernel odd. Weights and names are
    those of Keras.
    """

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], **kwargs: Any):
        kwargs["padding"] = "same"
        super().__init__(filters, kernel_size, **kwargs)
        if max(self.strides) > 1 or not all(size % 2 for size in self.kernel_size):
            raise ValueError(
                f"kernel {self.kernel_size}, strides {self.strides}; allowed: odd sizes, stride 1"
            )

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        rows, columns, channels, filters = kernel.shape
        # All rows of a column lie side by side, so that they are moved sideways as one.
        taps = tf.reshape(tf.transpose(kernel, [2, 1, 0, 3]), [channels, -1])
        maps = tf.matmul(tf.reshape(inputs, [-1, channels]), taps)
        shape = tf.concat([tf.shape(inputs)[:3], [columns * rows * filters]], axis=0)
        maps = tf.reshape(maps, shape)
        # A sum of many terms is not for 8 bits of precision.
        maps = self._sum_of_shifted(tf.cast(maps, tf.float32), 2, columns)
        maps = self._sum_of_shifted(maps, 1, rows)
        return tf.cast(tf.ensure_shape(maps, [*inputs.shape[:3], filters]), inputs.dtype)

    def _sum_of_shifted(self, maps: tf.Tensor, axis: int, count: int) -> tf.Tensor:
        """Adds up `count` groups of channels, each moved to its tap's place along an axis."""
        dilation = self.dilation_rate[axis - 1]
        groups = tf.split(maps, count, axis=-1)
        distances = [(index - count // 2) * dilation for index in range(count)]
        return tf.add_n([_shifted(*pair, axis) for pair in zip(groups, distances, strict=True)])


def _shifted(maps: tf.Tensor, distance: int, axis: int) -> tf.Tensor:
    """Returns maps whose pixel p is pixel p + distance along an axis; zero outside of the map."""
    if distance == 0:
        return maps
    length = tf.shape(maps)[axis]
    moved = tf.minimum(abs(distance), length)
    kept, padding = [slice(None)] * 4, [[0, 0]] * 4
    kept[axis] = slice(moved, None) if distance > 0 else slice(None, length - moved)
    padding[axis] = [0, moved] if distance > 0 else [moved, 0]
    return tf.pad(maps[tuple(kept)], padding)
