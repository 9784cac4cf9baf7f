"""Files beside the graph of an export: names and colours of the classes, warm-up requests."""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tf_advseg.data.classes import Classes
from tf_advseg.serving import assets, warmup


def test_line_n_is_class_n(tmp_path):
    classes = Classes("toy", ("sky", "road side", "Straße"), ((1, 2, 3), (0, 0, 0), (255, 9, 0)))
    assets.write(tmp_path, classes)
    labels = (tmp_path / "assets" / "labels.txt").read_text("utf-8")
    assert labels == "sky\nroad side\nStraße\n"
    assert (tmp_path / "assets" / "palette.txt").read_text() == "1 2 3\n0 0 0\n255 9 0\n"


def test_warmup_has_a_request_for_each_signature_with_input(tmp_path):
    warmup.write(tmp_path, (40, 56))
    file = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(file))
    ]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * 3
    requests = [log.predict_log.request for log in logs]
    names = [request.model_spec.signature_name for request in requests]
    assert names == ["serving_default", "encoded", "mask"]
    image = tf.make_ndarray(requests[0].inputs["image"])
    assert (image.shape, image.dtype) == ((1, 40, 56, 3), np.uint8)
    for request in requests[1:]:
        [data] = tf.make_ndarray(request.inputs["image_bytes"])
        assert tf.io.decode_image(data).shape == (40, 56, 3)


def test_read_gives_what_was_written(tmp_path):
    warmup.write(tmp_path, (8, 9))
    found = dict(warmup.read(tmp_path))
    assert list(found) == ["serving_default", "encoded", "mask"]
    assert found["serving_default"]["image"].shape == (1, 8, 9, 3)
    assert found["mask"]["image_bytes"].dtype == tf.string
