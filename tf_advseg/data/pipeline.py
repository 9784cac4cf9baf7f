"""tf.data pipelines for training and evaluation.

What a step sees follows from (seed, step) alone: the image at each place of each batch, and its
crop. A run can therefore start at any step with exactly the batches it would have had, without
reading through the earlier ones, and order does not depend on how many files are read at once.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from tf_advseg.data import VOID_LABEL, augment, coin, distort
from tf_advseg.data.decode import decode_image, decode_label
from tf_advseg.data.positions import WHOLE, Share, positions

_LABELED, _UNLABELED, _EVALUATION = 0, 1, 2  # Streams of randomness under one seed.
READY = 2  # Batches, or images of an evaluation, that wait for their turn.


@dataclasses.dataclass(frozen=True)
class Views:
    """How a training crop is drawn from an image.

    Attributes:
      crop_size: height and width, in pixels.
      crop_rule: "scale" or "area"; see `augment.random_scale` and `augment.random_area`.
      input_scale: a resize of every image, before the random one; "area" takes no notice of it.
      random_scale: smallest and largest random scale, for the rule "scale".
      flip: whether half of the crops are mirrored.
      void_class: the class id that void pixels of a label count as; None to leave them void.
        Pixels outside of the image are void all the same.
      padding_color: outside of the image, RGB in 0-255; the mean that the backbone subtracts.
      distortion: strength of a second, harder view of unlabeled images; None for no such view.
      cutmix: whether a box of the harder view is to come from another image.
    """

    crop_size: tuple[int, int]
    crop_rule: str = "scale"
    input_scale: float = 1.0
    random_scale: tuple[float, float] = (0.5, 1.5)
    flip: bool = True
    void_class: int | None = None
    padding_color: tuple[float, float, float] = (0.0, 0.0, 0.0)
    distortion: float | None = None
    cutmix: bool = True


def training_dataset(
    labeled: Sequence[tuple[Path, Path]],
    unlabeled: Sequence[Path],
    views: Views,
    *,
    batch_size: int,
    steps: int | None,
    seed: int,
    first_step: int = 0,
    one_kind: bool = False,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """Returns the batches of steps `first_step` to `steps` - 1.

    Args:
      labeled: image and cached label (`labels.prepare_labels`) of each labeled image.
      unlabeled: the unlabeled images; none, if the method uses none.
      views: how crops are drawn.
      batch_size: labeled images in a batch, and again of unlabeled ones.
      steps: the run's length; None means that there is no end.
      seed: of all randomness.
      first_step: where to start.
      one_kind: whether a step has labeled images or unlabeled ones, by the coin (`coin`). They are
        those that it would have of that kind; of the other kind it has blank ones.
      share: the part of each batch that this process reads, and in how many pieces; B is a piece's.

    Returns:
      a data set of {"labeled": (image, label), "unlabeled": (image, valid)}, the second only if
      there are unlabeled images: float32 [B, h, w, 3] in 0-255, int32 [B, h, w], bool [B, h, w].
      With a harder view it is (image, valid, distorted image, box): `distort.distort` of the same
      crop, and the part of it, bool [B, h, w], that is to come from another one.

    Raises:
      ValueError: a batch cannot be cut into the pieces.
    """
    images, unlabeled_images = _constant(image for image, _ in labeled), _constant(unlabeled)
    labels = _constant(label for _, label in labeled)

    def load_labeled(index: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _labeled_view(images[index], labels[index], seed, views)

    def load_unlabeled(index: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _unlabeled_view(unlabeled_images[index], seed, views)

    loaders = {"labeled": _loader(len(labeled), load_labeled, seed, _LABELED)}
    if unlabeled:
        loaders["unlabeled"] = _loader(len(unlabeled), load_unlabeled, seed, _UNLABELED)
    places, size = positions(batch_size, first_step, steps, share), share.piece_size(batch_size)
    if one_kind and unlabeled:
        dataset = _batches(places, _one_kind(loaders, views.crop_size, batch_size, seed), size)
    else:
        streams = {kind: _batches(places, load, size) for kind, load in loaders.items()}
        dataset = tf.data.Dataset.zip(streams)
    return untuned(dataset.prefetch(READY))


def evaluation_dataset(
    images: Sequence[Path], labels: Sequence[Path], void_class: int | None = None
) -> tf.data.Dataset:
    """Returns whole images, each at its own size, in order.

    Args:
      images: their files.
      labels: their cached labels; none for images without labels.
      void_class: as in `Views`.

    Returns:
      a data set of (image, label), or of image alone: uint8 [H, W, 3] in 0-255, uint8 [H, W].
    """
    dataset = _mapped(images, _read_image)
    if labels:
        both = tf.data.Dataset.zip((dataset, _mapped(labels, _label_reader(void_class))))
        dataset = _map(both, _of_one_size)
    return untuned(dataset.prefetch(READY))


def random_crop_dataset(
    images: Sequence[Path], labels: Sequence[Path], views: Views, seed: int, first: int = 0
) -> tf.data.Dataset:
    """Returns one random crop of each image, in order; the same ones for the same seed.

    Args:
      images, labels, views: as for `evaluation_dataset` and in `Views`.
      seed: of all crops.
      first: the place of the first image in its split, by which its crop goes.

    Returns:
      a data set of (image, label): uint8 [h, w, 3], int32 [h, w].
    """
    paths = tf.data.Dataset.from_tensor_slices((_constant(images), _constant(labels)))
    view_seed = tf.constant([seed, _EVALUATION], tf.int64)

    def load(index: tf.Tensor, paths: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        image_seed = tf.random.experimental.stateless_fold_in(view_seed, index)
        image, label = _labeled_view(*paths, image_seed, views)
        return tf.cast(tf.round(image), tf.uint8), label

    return untuned(_map(paths.enumerate(first), load).prefetch(READY))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the data set without TensorFlow's tuner of its threads.

    The tuner sleeps longer and longer, up to a minute, and sometimes nothing wakes it when the data
    set is closed: a run that is told to stop would stand still until then. Without it a `map` makes
    as many elements at once as the machine has cores, but at most 16.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def shuffled_index(position: tf.Tensor, count: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns which of `count` images is at a position of the endless, reshuffled sequence.

    Each `count` positions hold each image once. The permutation is computed for this position
    alone, so that the cost does not grow with the number of images.

    Args:
      position: int64 [], from 0 on.
      count: number of images.
      seed: int64 [2].

    Returns:
      int64 [], in 0 to count - 1.
    """
    epoch_seed = tf.random.experimental.stateless_fold_in(seed, position // count)
    return tf.random.experimental.index_shuffle(position % count, epoch_seed, count - 1)


def _loader(count: int, load: Callable, seed: int, tag: int) -> Callable[[tf.Tensor], tuple]:
    """Returns position -> the image that is there, as `load` (index, seed) gives it."""
    order_seed, view_seed = tf.unstack(
        tf.random.experimental.stateless_split(tf.constant([seed, tag], tf.int64), 2)
    )

    def load_position(position: tf.Tensor) -> tuple:
        index = shuffled_index(position, count, order_seed)
        return load(index, tf.random.experimental.stateless_fold_in(view_seed, position))

    return load_position


def _one_kind(
    loaders: dict[str, Callable[[tf.Tensor], tuple]],
    crop_size: tuple[int, int],
    batch_size: int,
    seed: int,
) -> Callable[[tf.Tensor], dict[str, tuple]]:
    """Returns position -> the image that its step uses, and a blank one of the other kind.

    Only one of them is read and decoded. No pixel of the blank one counts.
    """
    image = tf.zeros([*crop_size, 3])
    blank = {
        "labeled": (image, tf.fill(crop_size, VOID_LABEL)),
        "unlabeled": (image, tf.zeros(crop_size, tf.bool)),
    }

    def load(position: tf.Tensor) -> dict[str, tuple]:
        return tf.cond(
            coin.is_labeled_step(seed, position // batch_size),
            lambda: {**blank, "labeled": loaders["labeled"](position)},
            lambda: {**blank, "unlabeled": loaders["unlabeled"](position)},
        )

    return load


def _batches(places: tf.data.Dataset, load: Callable, size: int) -> tf.data.Dataset:
    return _map(places, load, deterministic=True).batch(size, drop_remainder=True)


def _map(dataset: tf.data.Dataset, function: Callable, **options: bool) -> tf.data.Dataset:
    # Without AutoGraph, which takes a second at the start to find that it has nothing to do.
    plain = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(plain, num_parallel_calls=tf.data.AUTOTUNE, **options)


def _labeled_view(
    image_path: tf.Tensor, label_path: tf.Tensor, seed: tf.Tensor, views: Views
) -> tuple[tf.Tensor, tf.Tensor]:
    image, label = _of_one_size(
        _read_image(image_path), _label_reader(views.void_class)(label_path)
    )
    geometry = _geometry(image, seed, views)
    return (
        augment.crop_image(image, geometry, views.crop_size, views.padding_color),
        augment.crop_label(label, geometry, views.crop_size),
    )


def _unlabeled_view(image_path: tf.Tensor, seed: tf.Tensor, views: Views) -> tuple[tf.Tensor, ...]:
    image = _read_image(image_path)
    geometry = _geometry(image, seed, views)
    crop = augment.crop_image(image, geometry, views.crop_size, views.padding_color)
    view = crop, augment.crop_valid(geometry, views.crop_size)
    return view if views.distortion is None else (*view, *_harder_view(crop, seed, views))


def _harder_view(crop: tf.Tensor, seed: tf.Tensor, views: Views) -> tuple[tf.Tensor, tf.Tensor]:
    # Not the seed of the crop itself, whose numbers say where it is.
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    distorted = distort.distort(crop, seeds[0], views.distortion)
    if not views.cutmix:
        return distorted, tf.zeros(views.crop_size, tf.bool)
    return distorted, distort.box(seeds[1], views.crop_size)


def _geometry(image: tf.Tensor, seed: tf.Tensor, views: Views) -> augment.Geometry:
    size = tf.shape(image)[:2]
    scales = tuple(scale * views.input_scale for scale in views.random_scale)
    rules = {
        "scale": lambda: augment.random_scale(seed, size, views.crop_size, scales, views.flip),
        "area": lambda: augment.random_area(seed, size, views.crop_size, views.flip),
    }
    return rules[views.crop_rule]()


def _mapped(paths: Sequence[Path], read: Callable[[tf.Tensor], tf.Tensor]) -> tf.data.Dataset:
    files = tf.data.Dataset.from_tensor_slices(_constant(paths))
    return _map(files, read)


def _read_image(path: tf.Tensor) -> tf.Tensor:
    return decode_image(tf.io.read_file(path))


def _of_one_size(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # A file may be replaced after it was checked, and its pixels would be compared with others.
    agree = tf.debugging.assert_equal(tf.shape(image)[:2], tf.shape(label))
    with tf.control_dependencies([agree]):
        return tf.identity(image), tf.identity(label)


def _label_reader(void_class: int | None) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns path -> label, uint8 [H, W], with its void pixels as this class."""

    def read(path: tf.Tensor) -> tf.Tensor:
        label = decode_label(tf.io.read_file(path))
        if void_class is None:
            return label
        return tf.where(label == VOID_LABEL, tf.constant(void_class, label.dtype), label)

    return read


def _constant(paths) -> tf.Tensor:
    return tf.constant([str(path) for path in paths], tf.string)
