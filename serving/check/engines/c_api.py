"""TensorFlow's C API, called by a C program: no Python runs in the process that predicts."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.check.engines import NAMES, Outputs

_SOURCE = Path(__file__).with_name("c_api.c")
_COMPILER = "gcc"
_TYPES = {"class_ids": np.int32, "probabilities": np.float32, "confidence": np.float32}


def missing() -> str:
    return "" if shutil.which(_COMPILER) else _COMPILER


def predict(saved_model: Path, images: Sequence[np.ndarray], folder: Path) -> list[Outputs]:
    program = _compile(folder)
    image_name, output_names = _tensor_names(saved_model)
    found = []
    for number, image in enumerate(images):
        own = folder / str(number)
        own.mkdir()
        (own / "image").write_bytes(image.tobytes())
        height, width, _ = image.shape
        files = [own / name for name in NAMES]
        pairs = [item for pair in zip(output_names, files, strict=True) for item in pair]
        subprocess.run(
            [program, saved_model, image_name, own / "image", str(height), str(width), *pairs],
            check=True,
            capture_output=True,
        )
        flat = {name: np.fromfile(own / name, _TYPES[name]) for name in NAMES}
        found.append(
            Outputs(
                class_ids=flat["class_ids"].reshape(height, width),
                probabilities=flat["probabilities"].reshape(height, width, -1),
                confidence=flat["confidence"].reshape(height, width),
            )
        )
    return found


def _compile(folder: Path) -> Path:
    """Compiles the program against the libraries of the installed TensorFlow."""
    import tensorflow as tf

    program, libraries = folder / "c_api", tf.sysconfig.get_lib()
    subprocess.run(
        [
            *(_COMPILER, "-O2", "-Wall", "-o", program, _SOURCE),
            *(f"-I{tf.sysconfig.get_include()}", f"-L{libraries}", f"-Wl,-rpath,{libraries}"),
            *("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"),
        ],
        check=True,
        capture_output=True,
    )
    return program


def _tensor_names(saved_model: Path) -> tuple[str, list[str]]:
    """Returns the graph's names of the input and of each output, as "OPERATION:INDEX"."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    return signature.inputs["image"].name, [signature.outputs[name].name for name in NAMES]
