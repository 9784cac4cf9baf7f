"""Warm-up requests, which TensorFlow Serving replays before it takes a new version into use.

A first request is slow: memory is allocated and kernels are chosen. The file is
assets.extra/tf_serving_warmup_requests, a TFRecord of PredictionLog messages
(tensorflow.org/tfx/serving/saved_model_warmup).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write(export: Path, size: tuple[int, int]) -> None:
    """Writes a request with one image for each signature that takes an input.

    Args:
      export: the folder of a SavedModel.
      size: of the image, height and width.
    """
    image = tf.constant(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    files = tf.io.encode_jpeg(image)[tf.newaxis]
    requests = {
        "serving_default": {"image": image[tf.newaxis]},
        "encoded": {"image_bytes": files},
        "mask": {"image_bytes": files},
    }
    path = export / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            writer.write(_log(signature, inputs).SerializeToString())


def _log(signature: str, inputs: dict[str, tf.Tensor]) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor.numpy()))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )


def read(export: Path) -> Iterator[tuple[str, dict[str, tf.Tensor]]]:
    """Yields the signature and the inputs of each request of an export."""
    for record in tf.data.TFRecordDataset(str(export / FILE)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(t)) for name, t in request.inputs.items()}
        yield request.model_spec.signature_name, inputs
