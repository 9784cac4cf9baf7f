"""Compares engines on one export: `python -m serving.check --saved_model DIR [--images DIR]`."""

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from serving.check.compare import TOLERANCE, difference
from serving.check.engines import Outputs
from tf_advseg import cli
from tf_advseg.data.catalog import IMAGE_SUFFIXES
from tf_advseg.errors import InputError, first_line
from tf_advseg.evaluation.export_files import check_graph, newest_version

#: What is printed -> the module in `serving.check.engines`.
ENGINES = {
    "TensorFlow's C API": "c_api",
    "saved_model_cli": "saved_model_cli",
    "OpenVINO": "openvino_engine",
    "ONNX Runtime": "onnx_runtime",
    "Triton over HTTP": "triton",
}
_REFERENCE = "tensorflow_python"
#: Of the images that are made where none are given: odd, wide, tall, small, and of usual size.
_SIZES = ((97, 131), (64, 200), (180, 75), (17, 17), (240, 320))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.check", description=__doc__)
    parser.add_argument("--saved_model", required=True, type=Path, help="export, or its version")
    parser.add_argument("--images", type=Path, help="folder of images [five are made]")
    parser.add_argument("--limit", type=int, default=5, help="images of the folder [%(default)s]")
    flags = parser.parse_args()
    if flags.limit < 1:
        raise InputError(f"--limit is {flags.limit}; allowed: a whole number of at least 1")
    saved_model = newest_version(flags.saved_model)
    check_graph(saved_model)
    images = read_images(flags.images, flags.limit) if flags.images else made_images()
    print(f"{saved_model}: {len(images)} images of {', '.join(map(size_text, images))}")
    with tempfile.TemporaryDirectory(prefix="serving-check-") as temporary:
        reference = _outputs(_REFERENCE, saved_model, images, Path(temporary))
        agree = [
            _report(name, module, saved_model, images, reference, Path(temporary))
            for name, module in ENGINES.items()
        ]
    if not all(agree):
        sys.exit(1)


def read_images(folder: Path, limit: int) -> list[np.ndarray]:
    """Returns images uint8 [H, W, 3] of a folder, each cut a little smaller than the one before.

    Images of a data set are often all of one size, and an export takes any.

    Raises:
      InputError: there is no image, or one that cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"--images {folder} is no folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise InputError(f"--images {folder} holds no image; allowed: {', '.join(IMAGE_SUFFIXES)}")
    images = [_read_image(path) for path in paths[:limit]]
    return [_cut(image, 1 - number / (2 * limit)) for number, image in enumerate(images)]


def _read_image(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from None


def _cut(image: np.ndarray, share: float) -> np.ndarray:
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def made_images() -> list[np.ndarray]:
    """Returns pictures of coloured rectangles, uint8 [H, W, 3]."""
    rng = np.random.default_rng(0)
    images = []
    for height, width in _SIZES:
        image = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
        for _ in range(12):
            top, left = rng.integers(0, height), rng.integers(0, width)
            part = np.s_[top : top + height // 2, left : left + width // 2]
            image[part] = rng.integers(0, 256, 3)
        noise = rng.normal(0, 8, image.shape)
        images.append(np.clip(image + noise, 0, np.iinfo(np.uint8).max).astype(np.uint8))
    return images


def size_text(image: np.ndarray) -> str:
    return "{}x{}".format(*image.shape)


def _outputs(
    module: str, saved_model: Path, images: list[np.ndarray], folder: Path
) -> list[Outputs]:
    own = Path(tempfile.mkdtemp(prefix=f"{module}-", dir=folder))
    engine = importlib.import_module(f"serving.check.engines.{module}")
    return engine.predict(saved_model, images, own)


def _report(
    name: str,
    module: str,
    saved_model: Path,
    images: list[np.ndarray],
    reference: list[Outputs],
    folder: Path,
) -> bool:
    """Prints a line about an engine; returns False if it fails or differs."""
    lacks = importlib.import_module(f"serving.check.engines.{module}").missing()
    if lacks:
        print(f"{name:<20} skipped: {lacks} is not installed")
        return True
    begin = time.perf_counter()
    try:
        found = _outputs(module, saved_model, images, folder)
        differences = [difference(f, r) for f, r in zip(found, reference, strict=True)]
    except Exception as error:  # An engine may raise anything; the others are checked all the same.
        print(f"{name:<20} FAILED: {_told(error)}")
        return False
    agrees = all(one.is_small for one in differences)
    print(
        f"{name:<20} {'agrees' if agrees else 'DIFFERS'}: "
        f"probabilities within {np.max([d.probabilities for d in differences]):.1e}, "
        f"confidence {np.max([d.confidence for d in differences]):.1e}, "
        f"{sum(d.classes for d in differences)} pixels of another class "
        f"({sum(d.close for d in differences)} with two classes within {TOLERANCE:g} left out); "
        f"{time.perf_counter() - begin:.0f} s"
    )
    return agrees


def _told(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return " ".join((error.stderr or b"").decode(errors="replace").split())[-500:]
    return " ".join(str(error).split())[:500]


if __name__ == "__main__":
    cli.run(main)
