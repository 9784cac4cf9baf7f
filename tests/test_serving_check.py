"""The comparison of engines, and those engines that are always there."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from serving.check import __main__ as check
from serving.check import compare
from serving.check.engines import Outputs

PROBABILITIES = np.array([[[0.7, 0.2, 0.1], [0.40005, 0.4, 0.19995]]], np.float32)
REFERENCE = Outputs(
    class_ids=np.array([[0, 0]], np.int32),
    probabilities=PROBABILITIES,
    confidence=np.array([[0.25, 0.5]], np.float32),
)


def changed(**values):
    return Outputs(**{**REFERENCE, **values})


def test_equal_outputs_do_not_differ():
    found = compare.difference(REFERENCE, REFERENCE)
    assert dataclasses.astuple(found) == (0.0, 0.0, 0, 1)
    assert found.is_small


def test_class_may_differ_only_where_two_are_close():
    close = compare.difference(changed(class_ids=np.array([[0, 1]], np.int32)), REFERENCE)
    assert close.is_small
    wrong = compare.difference(changed(class_ids=np.array([[1, 1]], np.int32)), REFERENCE)
    assert (wrong.classes, wrong.is_small) == (1, False)


@pytest.mark.parametrize("name", ["probabilities", "confidence"])
@pytest.mark.parametrize(("change", "small"), [(9e-5, True), (2e-4, False), (np.nan, False)])
def test_numbers_may_differ_by_the_tolerance(name, change, small):
    values = REFERENCE[name].copy()
    values.flat[0] += change
    found = compare.difference(changed(**{name: values}), REFERENCE)
    assert found.is_small is small
    np.testing.assert_allclose(getattr(found, name), change, atol=1e-7)


@pytest.mark.parametrize("value", [np.zeros((1, 3), np.int32), np.zeros((1, 2), np.int64)])
def test_other_shape_or_type_is_told(value):
    with pytest.raises(ValueError, match=r"class_ids is .*, expected int32 \[1, 2\]"):
        compare.difference(changed(class_ids=value), REFERENCE)


class Tiny(tf.Module):
    """A SavedModel with the signature of an export: brightness decides."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")])
    def serve(self, image):
        bright = tf.reduce_mean(tf.cast(image, tf.float32), axis=-1) / 255
        probabilities = tf.stack([1 - bright, bright], axis=-1)
        return {
            "class_ids": tf.argmax(probabilities, -1, tf.int32),
            "probabilities": probabilities,
            "confidence": tf.reduce_max(probabilities, axis=-1),
        }


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "1"
    tiny = Tiny()
    tf.saved_model.save(tiny, str(folder), signatures=tiny.serve)
    return folder


@pytest.mark.parametrize(
    "module", ["c_api", pytest.param("saved_model_cli", marks=pytest.mark.slow)]
)
def test_engine_of_tensorflow_agrees(saved_model, tmp_path, module):
    engine = check.importlib.import_module(f"serving.check.engines.{module}")
    if lacks := engine.missing():
        pytest.skip(f"{lacks} is not installed")
    images = check.made_images()[:2]
    found = engine.predict(saved_model, images, tmp_path)
    for outputs, image in zip(found, images, strict=True):
        bright = image.astype(np.float64).mean(-1) / 255
        np.testing.assert_allclose(outputs["probabilities"][..., 1], bright, atol=1e-6)
        np.testing.assert_array_equal(outputs["class_ids"][bright > 0.501], 1)
        np.testing.assert_allclose(outputs["confidence"], np.maximum(bright, 1 - bright), atol=1e-6)


def run(monkeypatch, *flags):
    monkeypatch.setattr(check.sys, "argv", ["check", *map(str, flags)])
    check.main()


def use_engine(monkeypatch, *, missing="", predict=None):
    """Lets the command know TensorFlow's own loader as "same", and as "other" an engine made up."""
    engine = types.SimpleNamespace(missing=lambda: missing, predict=predict)
    load = check.importlib.import_module
    monkeypatch.setattr(check, "ENGINES", {"same": "tensorflow_python", "other": "made_up"})
    monkeypatch.setattr(
        check.importlib, "import_module", lambda name: engine if "made_up" in name else load(name)
    )


def test_command_tells_each_engine(saved_model, monkeypatch, capsys):
    use_engine(monkeypatch, missing="some package")
    run(monkeypatch, "--saved_model", saved_model.parent)
    first, same, other = capsys.readouterr().out.splitlines()
    assert "5 images of 97x131, 64x200, 180x75, 17x17, 240x320" in first
    assert same.startswith("same") and "agrees: probabilities within 0.0e+00" in same
    assert other.split() == ["other", "skipped:", "some", "package", "is", "not", "installed"]


def test_engine_that_differs_or_fails_ends_with_1(saved_model, monkeypatch, capsys):
    def wrong(saved_model, images, folder):
        raise RuntimeError("no such\noperation")

    use_engine(monkeypatch, predict=wrong)
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "--saved_model", saved_model)
    assert end.value.code == 1
    assert "FAILED: no such operation" in capsys.readouterr().out


def test_engine_without_numbers_is_told_so(saved_model, monkeypatch, capsys):
    reference = check.importlib.import_module("serving.check.engines.tensorflow_python").predict

    def wrong(saved_model, images, folder):
        found = reference(saved_model, images, folder)
        found[-1]["confidence"] = found[-1]["confidence"] * np.nan
        return found

    use_engine(monkeypatch, predict=wrong)
    with pytest.raises(SystemExit):
        run(monkeypatch, "--saved_model", saved_model)
    said = capsys.readouterr().out
    assert "DIFFERS: probabilities within 0.0e+00, confidence nan, 0 pixels" in said
