"""Tensors of a Keras .h5 file, read in a process of its own.

Keras may store a whole model, whose layers can hold code; here only its tensors are looked at. The
library that reads HDF5 may loop for ever, fill the memory or crash on a damaged file. So another
process reads it, with limits, and hands over an .npz file without pickles. That bounds damage; it
is no cage for a file that takes over the library.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tf_advseg.errors import InputError
from tf_advseg.models import keras_reader

#: No thread that nobody needs reserves memory, and HDF5 loads no filters from the user's folders.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "HDF5_PLUGIN_PRELOAD": "::",
}
_ROOT = Path(__file__).resolve().parents[2]
#: A file of a gigabyte takes seconds.
_SECONDS = 120

Layers = Mapping[str, Sequence[np.ndarray]]


def read_keras_file(path: Path) -> Layers:
    """Reads the tensors of a Keras .h5 file, with or without a model around them.

    Args:
      path: the file; no code of it is run.

    Returns:
      by the names of its layers, in the file's order, the tensors of each, as Keras orders them.

    Raises:
      InputError: it is no such file, is damaged, or cannot be read within the limits; the message
        begins with "it", for the path.
    """
    with tempfile.TemporaryDirectory(prefix="tf_advseg-") as folder:
        output = Path(folder) / "tensors.npz"
        module = keras_reader.__name__
        command = [sys.executable, "-m", module, str(path.resolve()), str(output)]
        try:
            done = subprocess.run(
                command,
                cwd=_ROOT,
                env={**os.environ, **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"it takes more than {_SECONDS} seconds to read") from None
        if done.returncode == keras_reader.REFUSED:
            raise InputError(f"it {done.stderr.decode(errors='replace')}")
        if done.returncode:
            raise InputError(f"it is damaged: its reader ended with code {done.returncode}")
        return _layers(output)


def _layers(path: Path) -> Layers:
    layers: dict[str, list[np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as file:
        for name in file[keras_reader.LAYERS].tolist():
            layers[name] = []
        for index, name in enumerate(file[keras_reader.OWNERS].tolist()):
            layers[name].append(file[keras_reader.TENSOR.format(index)])
    return layers
