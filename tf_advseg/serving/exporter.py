"""Writing the SavedModel, and checking it against its checkpoint before anyone relies on it."""

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_advseg.errors import InputError
from tf_advseg.evaluation.inference import Predictor
from tf_advseg.saved_run import SavedRun
from tf_advseg.serving.module import ServingModule

#: Odd, non-square and tiny images, and a batch: [B, H, W].
_CHECKED_SHAPES = ((1, 65, 97), (2, 48, 32), (1, 1, 1))
#: Settings that name folders of the machine that trained, which no user of the export has.
_LOCAL = ("data_dir", "labeled_list", "run_dir", "weights", "resume")
_TOLERANCE = 1e-4  # Of probabilities; a rebuilt graph may add in another order.


def export(run: SavedRun, output: Path) -> Path:
    """Writes OUTPUT/1, or the next free number, once it is shown to equal the checkpoint.

    Args:
      run: the networks to export.
      output: the folder of the versions, as a model server expects it.

    Returns:
      the version's folder.

    Raises:
      InputError: the folder cannot be written.
      ExportError: the reloaded model does not give what the checkpoint gives.
    """
    config = {k: v for k, v in dataclasses.asdict(run.config).items() if k not in _LOCAL}
    scale = run.config.input_scale
    module = ServingModule(run.segmenter, run.discriminator, run.classes, scale, config)
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Beside the versions, and hidden: a server that watches the folder sees only whole models.
        temporary = Path(tempfile.mkdtemp(prefix=".export-", dir=output))
    except OSError as error:
        raise InputError(f"cannot write to --output {output}: {error.strerror}") from None
    try:
        tf.saved_model.save(module, str(temporary), signatures=module.signatures())
        verify(temporary, run)
        version = output / str(_next_version(output))
        temporary.chmod(0o755)
        temporary.rename(version)
        return version
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class ExportError(RuntimeError):
    """An exported model differs from its checkpoint."""


def verify(folder: Path, run: SavedRun) -> None:
    """Compares each signature with the checkpoint it was made from, on images of several shapes.

    Raises:
      ExportError: they differ by more than rounding.
    """
    model = tf.saved_model.load(str(folder))
    signatures = model.signatures
    predict = Predictor(run.segmenter, run.discriminator, input_scale=run.config.input_scale)
    rng = np.random.default_rng(0)
    for shape in _CHECKED_SHAPES:
        image = tf.constant(rng.integers(0, 256, (*shape, 3), np.uint8))
        files = tf.stack([tf.io.encode_png(one) for one in image])
        served, expected = signatures["serving_default"](image=image), predict(image)
        _compare(folder, "serving_default", served, expected._asdict())
        _compare(folder, "encoded", signatures["encoded"](image_bytes=files), served)
        masks = signatures["mask"](image_bytes=files)["mask_bytes"]
        class_ids = tf.stack([tf.io.decode_png(mask)[..., 0] for mask in masks])
        _compare(folder, "mask", {"class_ids": class_ids}, {"class_ids": served["class_ids"]})
    names = [name.decode() for name in signatures["metadata"]()["class_names"].numpy()]
    if tuple(names) != run.classes.names:
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


def _next_version(output: Path) -> int:
    versions = [int(path.name) for path in output.iterdir() if path.name.isdecimal()]
    return max(versions, default=0) + 1
