"""Evaluation protocols: what of a validation image a network sees, and is judged by.

"full" is the one that numbers should be compared in: each image whole, at its own size.
"padded" is the authors' (evaluate_voc.py): smaller images are padded below and to the right with
the mean colour, and the prediction is cropped back. It differs from "full" at the borders only.
"random_crop" is the challenge entry's, unless told otherwise (its `--val_orig`): one random window
of each image, resized to the training crop. It hides parts of the images and changes their scale,
so that its mean IoU is not comparable.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from tf_advseg.data import pipeline
from tf_advseg.data.files import LabeledFiles
from tf_advseg.evaluation.inference import Prediction
from tf_advseg.evaluation.results import FULL_IMAGES
from tf_advseg.options import FULL, PADDED, RANDOM_CROP

Predict = Callable[[tf.Tensor], Prediction]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a split is evaluated.

    Attributes:
      name: one of `options.EVAL_PROTOCOLS`.
      size: height and width in pixels, of "padded" and "random_crop".
      seed: of "random_crop"; an image has the same crop at each evaluation.
      void_class: the class id that void pixels count as; None to leave them out.
    """

    name: str
    size: tuple[int, int] | None = None
    seed: int = 0
    void_class: int | None = None

    @property
    def is_unusual(self) -> bool:
        """Whether numbers cannot be compared with those of full images without void."""
        return self.name != FULL or self.void_class is not None

    def describe(self) -> str:
        """Returns how a split is seen in a few words, for those who read the numbers."""
        words = {
            FULL: FULL_IMAGES,
            PADDED: "images padded to {}x{}",
            RANDOM_CROP: "random crops resized to {}x{}",
        }
        seen = words[self.name].format(*(self.size or ()))
        return seen if self.void_class is None else f"{seen}, void counted as background"

    def images(self, files: LabeledFiles, part: range | None = None) -> tf.data.Dataset:
        """Returns (image [H, W, 3] in 0-255, label integers [H, W]) of each image, in order.

        Args:
          files: of a split.
          part: which of them, in steps of 1; None for all. They look as they do among all.
        """
        part = range(len(files.ids)) if part is None else part
        own = slice(part.start, part.stop)
        images, labels = files.images[own], files.labels[own]
        if self.name != RANDOM_CROP:
            return pipeline.evaluation_dataset(images, labels, self.void_class)
        views = pipeline.Views(self.size, "area", flip=False, void_class=self.void_class)
        return pipeline.random_crop_dataset(images, labels, views, self.seed, part.start)

    def images_at(
        self, files: LabeledFiles, positions: Sequence[int]
    ) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Yields some images of `files`, each as it looks among all; see `images`.

        Args:
          files: of a split.
          positions: of the images in it, in any order.
        """
        if self.name == RANDOM_CROP:  # An image's crop follows from its position.
            parts = [(files, range(position, position + 1)) for position in positions]
        else:
            # Read as one data set: to build one takes longer than to read an image.
            parts = [(files.at(positions), None)]
        for some, part in parts:
            yield from self.images(some, part)

    def wrap(self, predict: Predict, padding_color: tuple[float, float, float]) -> Predict:
        """Returns images [B, H, W, 3] -> Prediction of that size, seen as the protocol says.

        Args:
          predict: images [B, h, w, 3] -> Prediction.
          padding_color: RGB in 0-255.
        """
        if self.name != PADDED:
            return predict
        return lambda images: _predict_padded(predict, images, self.size, padding_color)


def _predict_padded(
    predict: Predict,
    images: tf.Tensor,
    size: tuple[int, int],
    color: tuple[float, float, float],
) -> Prediction:
    height, width = images.shape[1:3]
    below, right = max(0, size[0] - height), max(0, size[1] - width)
    # Zero is the colour after it is taken off, so that one padding serves all three channels.
    images = tf.cast(images, tf.float32) - color
    padded = tf.pad(images, [[0, 0], [0, below], [0, right], [0, 0]]) + color
    return Prediction(*(values[:, :height, :width] for values in predict(padded)))
