"""The module that is exported as a SavedModel, and its signatures."""

import functools
import json
from typing import Any

import keras
import tensorflow as tf

from tf_advseg.data import VOID_LABEL
from tf_advseg.data.classes import Classes
from tf_advseg.evaluation.inference import prediction_from, probabilities_at_scale
from tf_advseg.options import MAX_PIXELS
from tf_advseg.serving.decoding import decode_batch


class ServingModule(tf.Module):
    """Segments images: raw pixels or encoded files in, classes and confidence out.

    Args:
      segmenter: float32, images [B, H, W, 3] -> logits [B, H, W, C].
      discriminator: float32, for the confidence; None to give the largest probability instead.
      classes: of the data set.
      input_scale: the scale of the images that the networks were trained with.
      config: the run's configuration, for the metadata.
      max_pixels: that the encoded images of a request may have together.
    """

    def __init__(
        self,
        segmenter: keras.Model,
        discriminator: keras.Model | None,
        classes: Classes,
        input_scale: float,
        config: dict[str, Any],
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__()
        # Of the networks, only the weights are attributes: of a network that is one, Keras would
        # save a graph for each layer, which doubles the file and the time to write it.
        self._weights = [*segmenter.weights, *(discriminator.weights if discriminator else ())]
        self._probabilities = functools.partial(
            probabilities_at_scale, segmenter, scale=input_scale
        )
        self._prediction = functools.partial(
            prediction_from, discriminator=discriminator, input_scale=input_scale
        )
        self._confidence_source = "discriminator" if discriminator else "probability"
        self._classes = classes
        self._config_json = json.dumps(config)
        self._max_pixels = max_pixels

    def signatures(self) -> dict[str, Any]:
        """Returns the concrete function of each signature, by name."""
        encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
        image = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")
        return {
            "serving_default": self.serving_default.get_concrete_function(image),
            "encoded": self.encoded.get_concrete_function(encoded),
            "mask": self.mask.get_concrete_function(encoded),
            "metadata": self.metadata.get_concrete_function(),
        }

    @tf.function(autograph=False)
    def serving_default(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Segments pixels.

        Args:
          image: uint8 [B, H, W, 3], RGB, of any size from 1x1.

        Returns:
          "class_ids" int32 [B, H, W], "probabilities" float32 [B, H, W, C] and "confidence" float32
          [B, H, W], as `evaluation.inference.Prediction` has them.
        """
        return self._prediction(self._probabilities(image), image)._asdict()

    @tf.function(autograph=False)
    def encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Segments JPEG or PNG files, string [B], all of one size; returns as `serving_default`.

        Raises:
          tf.errors.InvalidArgumentError: as `serving.decoding.decode_batch`.
        """
        return self.serving_default(decode_batch(image_bytes, self._max_pixels))

    @tf.function(autograph=False)
    def mask(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Segments JPEG or PNG files, string [B], all of one size.

        Returns:
          "mask_bytes" string [B]: grey PNGs of class ids, a few kilobytes each.
        """
        class_ids = tf.cast(self.encoded(image_bytes)["class_ids"], tf.uint8)[..., tf.newaxis]
        return {"mask_bytes": tf.map_fn(tf.io.encode_png, class_ids, fn_output_signature=tf.string)}

    @tf.function(autograph=False)
    def metadata(self) -> dict[str, tf.Tensor]:
        """Says what the model is; the one signature whose outputs have no batch dimension.

        Returns:
          "dataset" string [], "class_names" string [C], "class_colors" int32 [C, 3], "void_label"
          int32 [], "confidence_source" string [] ("discriminator" or "probability"), "max_pixels"
          int64 [] that the encoded images of a request may have together, and "config" string [],
          the run's configuration as JSON.
        """
        return {
            "dataset": tf.constant(self._classes.name),
            "class_names": tf.constant(self._classes.names),
            "class_colors": tf.constant(self._classes.colors, tf.int32),
            "void_label": tf.constant(VOID_LABEL),
            "confidence_source": tf.constant(self._confidence_source),
            "max_pixels": tf.constant(self._max_pixels, tf.int64),
            "config": tf.constant(self._config_json),
        }
