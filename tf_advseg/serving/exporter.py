"""Writing the SavedModel, and checking it against its checkpoint before anyone relies on it."""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_advseg.errors import InputError
from tf_advseg.evaluation.inference import Prediction, Predictor
from tf_advseg.models.convolutions import bake
from tf_advseg.options import MAX_PIXELS
from tf_advseg.saved_run import SavedRun
from tf_advseg.serving import assets, warmup
from tf_advseg.serving.module import ServingModule

#: Odd, non-square and tiny images, and a batch: [B, H, W].
_CHECKED_SHAPES = ((1, 65, 97), (2, 48, 32), (1, 1, 1))
#: Settings that name folders of the machine that trained, which no user of the export has.
_LOCAL = ("data_dir", "labeled_list", "run_dir", "weights", "resume")
_TOLERANCE = 1e-4  # Of probabilities; a rebuilt graph may add in another order.


def export(
    run: SavedRun,
    output: Path,
    max_pixels: int = MAX_PIXELS,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Writes OUTPUT/1, or the next free number, once it is shown to equal the checkpoint.

    Args:
      run: the networks to export. They compute the same afterwards, but for inference only
        (`models.convolutions.bake`).
      output: the folder of the versions, as a model server expects it.
      max_pixels: that the files of a request may have together; more are refused before they are
        decoded.
      say: is told what is done.

    Returns:
      the version's folder.

    Raises:
      InputError: the folder cannot be written.
      ExportError: the reloaded model does not give what the checkpoint gives.
    """
    temporary = _make_hidden_folder(output)
    try:
        expected = expected_of(run)
        module = _baked_module(run, max_pixels)
        say("tracing and saving the graph")
        tf.saved_model.save(module, str(temporary), signatures=module.signatures())
        assets.write(temporary, run.classes)
        warmup.write(temporary, _warmup_size(run, max_pixels))
        say("reloading it and comparing it with its checkpoint")
        verify(temporary, expected, run.classes.names)
        version = output / str(_next_version(output))
        temporary.chmod(0o755)
        temporary.rename(version)
        return version
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make_hidden_folder(output: Path) -> Path:
    """Makes a folder beside the versions that a server which watches them does not load."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".export-", dir=output))
    except OSError as error:
        raise InputError(f"cannot write to --output {output}: {error.strerror}") from None


def _baked_module(run: SavedRun, max_pixels: int) -> ServingModule:
    """Returns what is exported, of the run's own networks with their weights baked in."""
    for network in filter(None, (run.segmenter, run.discriminator)):
        bake(network)
    config = {k: v for k, v in dataclasses.asdict(run.config).items() if k not in _LOCAL}
    scale = run.config.input_scale
    return ServingModule(run.segmenter, run.discriminator, run.classes, scale, config, max_pixels)


class ExportError(RuntimeError):
    """An exported model differs from its checkpoint."""


def expected_of(run: SavedRun) -> list[tuple[tf.Tensor, Prediction]]:
    """Returns images of several shapes, uint8 [B, H, W, 3], and what a run predicts for each."""
    predict = Predictor(run.segmenter, run.discriminator, input_scale=run.config.input_scale)
    rng = np.random.default_rng(0)
    shapes = ((*shape, 3) for shape in _CHECKED_SHAPES)
    images = [tf.constant(rng.integers(0, 256, shape, np.uint8)) for shape in shapes]
    return [(image, predict(image)) for image in images]


def verify(
    folder: Path, expected: list[tuple[tf.Tensor, Prediction]], class_names: tuple[str, ...]
) -> None:
    """Compares each signature with what the checkpoint that it was made from predicts.

    Args:
      folder: of the exported model.
      expected: from `expected_of`.
      class_names: what the metadata are to say.

    Raises:
      ExportError: they differ by more than rounding.
    """
    model = tf.saved_model.load(str(folder))
    signatures = model.signatures
    metadata = signatures["metadata"]()
    for image, prediction in expected:
        served = signatures["serving_default"](image=image)
        _compare(folder, "serving_default", served, prediction._asdict())
        if tf.size(image[..., 0], tf.int64) > metadata["max_pixels"]:
            continue  # Such files are refused.
        files = tf.stack([tf.io.encode_png(one) for one in image])
        _compare(folder, "encoded", signatures["encoded"](image_bytes=files), served)
        masks = signatures["mask"](image_bytes=files)["mask_bytes"]
        class_ids = tf.stack([tf.io.decode_png(mask)[..., 0] for mask in masks])
        _compare(folder, "mask", {"class_ids": class_ids}, {"class_ids": served["class_ids"]})
    for name, inputs in warmup.read(folder):
        for output, tensor in signatures[name](**inputs).items():
            if tensor.dtype.is_floating and not np.isfinite(tensor).all():
                raise ExportError(f"{folder}: {output} of {name} is not finite")
    names = [name.decode() for name in metadata["class_names"].numpy()]
    if tuple(names) != class_names:
        raise ExportError(f"{folder}: metadata names the classes {names}")


def _compare(
    folder: Path, signature: str, served: Mapping[str, tf.Tensor], expected: Mapping[str, tf.Tensor]
) -> None:
    for name, tensor in expected.items():
        if name == "class_ids" and signature == "serving_default":
            continue  # Where two classes are equally likely, rounding decides.
        difference = np.abs(served[name].numpy().astype(float) - tensor.numpy()).max()
        # Written so that NaN fails too.
        if not difference <= _TOLERANCE:
            raise ExportError(f"{folder}: {name} of {signature} differ by {difference}")


def _warmup_size(run: SavedRun, max_pixels: int) -> tuple[int, int]:
    """Returns the size of images that fill a training crop, or a smaller one that is served."""
    height, width = (max(1, round(side / run.config.input_scale)) for side in run.config.crop_size)
    scale = min(1.0, (max_pixels / (height * width)) ** 0.5)
    return max(1, int(height * scale)), max(1, int(width * scale))


def _next_version(output: Path) -> int:
    versions = [int(path.name) for path in output.iterdir() if path.name.isdecimal()]
    return max(versions, default=0) + 1
