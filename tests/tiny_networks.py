"""Networks of a few weights, and batches for them, where a test needs no real ones."""

import keras
import numpy as np
import tensorflow as tf

VOID = 255
CLASSES = 3


def tiny_segmenter(
    *, kernel: int = 3, classes: int = CLASSES, precision: str = "float32", seed: int = 0
) -> keras.Model:
    """Images [B, H, W, 3] in 0-255 -> logits float32 [B, H, W, classes], by two convolutions."""

    def uniform(offset: int) -> keras.initializers.Initializer:
        return keras.initializers.RandomUniform(-0.5, 0.5, seed=seed + offset)

    image = keras.Input((None, None, 3), dtype="float32")
    x = keras.layers.Rescaling(1 / 127.5, -1.0, dtype="float32")(image)
    x = keras.layers.Conv2D(
        5,
        kernel,
        padding="same",
        activation="tanh",
        kernel_initializer=uniform(0),
        bias_initializer=uniform(1),
        dtype=precision,
        name="body",
    )(x)
    x = keras.layers.Conv2D(
        classes, 1, kernel_initializer=uniform(2), dtype=precision, name="head_conv"
    )(x)
    return keras.Model(image, keras.layers.Activation("linear", dtype="float32")(x))


def tiny_discriminator(
    *, kernel: int = 3, classes: int = CLASSES, precision: str = "float32", seed: int = 10
) -> keras.Model:
    """Class probabilities [B, H, W, classes] -> logits float32 [B, H, W, 1]."""

    def uniform(offset: int) -> keras.initializers.Initializer:
        return keras.initializers.RandomUniform(-1.0, 1.0, seed=seed + offset)

    maps = keras.Input((None, None, classes), dtype="float32")
    x = keras.layers.Conv2D(
        4,
        kernel,
        padding="same",
        activation="tanh",
        kernel_initializer=uniform(0),
        dtype=precision,
        name="conv1",
    )(maps)
    x = keras.layers.Conv2D(1, 1, kernel_initializer=uniform(1), dtype=precision, name="conv2")(x)
    return keras.Model(maps, keras.layers.Activation("linear", dtype="float32")(x))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A random image, uint8 [1, height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), np.uint8)


def resized(maps: np.ndarray | tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Maps [B, h, w, C] resized to float32 [B, height, width, C], smoothed where they shrink."""
    return tf.image.resize(tf.cast(maps, tf.float32), (height, width), antialias=True)


def random_batch(seed: int = 0, *, size: tuple[int, int] = (6, 7), unlabeled: bool = True) -> dict:
    """A step's input: two images of each kind, some label pixels void, some others padded."""
    generator = np.random.default_rng(seed)

    def images() -> np.ndarray:
        return generator.uniform(0, 255, (2, *size, 3)).astype(np.float32)

    labels = generator.integers(0, CLASSES, (2, *size)).astype(np.int32)
    labels[generator.uniform(size=labels.shape) < 0.2] = VOID
    batch = {"labeled": (tf.constant(images()), tf.constant(labels))}
    if unlabeled:
        valid = np.ones((2, *size), bool)
        valid[0, -2:], valid[1, :, :1] = False, False
        batch["unlabeled"] = (tf.constant(images()), tf.constant(valid))
    return batch


def randomize(network: keras.Model, seed: int = 0) -> None:
    """Gives biases and batch norm random values: left as built, they are zero, or one."""
    generator = np.random.default_rng(seed)
    for weight in network.weights:
        name = weight.name.split("/")[-1].split(":")[0]
        if name in ("gamma", "moving_variance"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif name in ("beta", "bias", "moving_mean"):
            weight.assign(generator.uniform(-0.3, 0.3, weight.shape))


def values(network: keras.Model) -> list[np.ndarray]:
    """The weights, copied."""
    return [weight.numpy().copy() for weight in network.weights]
