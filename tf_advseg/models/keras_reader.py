"""Copies the tensors of a Keras .h5 file to an .npz: `python -m tf_advseg.models.keras_reader`.

`keras_file` runs it. It ends with code 0, with REFUSED and the reason on stderr, or by its limits.
"""

import itertools
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

REFUSED = 2
#: Arrays of the .npz: names of layers; the layer of each tensor; the tensors.
LAYERS, OWNERS, TENSOR = "layers", "owners", "tensor{}"

_SECONDS = 100  # Of the processor.
_MEMORY = 2**31  # Bytes beside twice the file's; the libraries reserve half of it.
_MAX_NAMES = 10_000  # Of layers, and of the tensors of one; a large network has hundreds.
_LAYER_NAMES, _WEIGHT_NAMES = "layer_names", "weight_names"


class Refused(Exception):
    """What is wrong with the file, as the end of a sentence that starts with its path."""


def main() -> None:
    source, output = map(Path, sys.argv[1:])
    try:
        limit(source.stat().st_size)
        copy(source, output)
    except Refused as error:
        refusal = str(error)
    except Exception as error:
        # Whatever h5py makes of a damaged file, among it a lack of memory.
        refusal = f"is no Keras .h5 file, or is damaged ({type(error).__name__})"
    else:
        return
    sys.stderr.write(refusal)
    sys.exit(REFUSED)


def limit(size: int) -> None:
    """Bounds this process's memory and time, for a file of so many bytes."""
    for kind, value in (
        (resource.RLIMIT_AS, 2 * size + _MEMORY),
        (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def copy(source: Path, output: Path) -> None:
    """Writes the tensors of an .h5 file to an .npz file.

    Raises:
      Refused: it is none of Keras, or holds what Keras does not write.
    """
    left = source.stat().st_size
    layers: list[str] = []
    owners: list[str] = []
    tensors: dict[str, np.ndarray] = {}
    with h5py.File(source, "r") as file:
        group = _child(file, "model_weights", h5py.Group) if "model_weights" in file else file
        for layer in _names(group, _LAYER_NAMES):
            if layer in layers:
                raise Refused(f"has two layers {layer[:80]!r}")
            layers.append(layer)
            for dataset in _datasets(_child(group, layer, h5py.Group)):
                # Keras compresses nothing; what inflates could fill any memory.
                left -= dataset.nbytes
                if left < 0:
                    raise Refused("has tensors that promise more bytes than the file has")
                tensors[TENSOR.format(len(owners))] = dataset[()]
                owners.append(layer)
    arrays = {LAYERS: np.array(layers, str), OWNERS: np.array(owners, str), **tensors}
    np.savez(output, **arrays)


def _datasets(layer: h5py.Group) -> Iterator[h5py.Dataset]:
    for name in _names(layer, _WEIGHT_NAMES):
        dataset = _child(layer, name, h5py.Dataset)
        # Either could read any other file of the user's into a tensor.
        if dataset.external or dataset.is_virtual:
            raise Refused(f"has its tensor {name[:80]!r} in another file")
        if dataset.dtype.kind != "f":
            raise Refused(f"has a tensor {name[:80]!r} of type {dataset.dtype}, not of numbers")
        yield dataset


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Returns a list of names, which Keras parts into several attributes if it is long."""
    numbered = (f"{attribute}{number}" for number in itertools.count())
    whole = [attribute] if attribute in group.attrs else []
    keys = whole or list(itertools.takewhile(group.attrs.__contains__, numbered))
    if not keys:
        raise Refused(f"has no {attribute}, which the .h5 files of Keras 2 have")
    names = [name for key in keys for name in np.asarray(group.attrs[key]).ravel()[:_MAX_NAMES]]
    texts = [name.decode() if isinstance(name, bytes) else name for name in names]
    if len(texts) > _MAX_NAMES or not all(isinstance(text, str) for text in texts):
        raise Refused(f"has {attribute} that are no names, or too many")
    return texts


def _child(group: h5py.Group, path: str, kind: type) -> h5py.Group | h5py.Dataset:
    """Returns what a path leads to, inside of this file and of this group."""
    found = group
    for name in path.split("/"):
        link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
        if name in ("", ".", "..") or not isinstance(link, h5py.HardLink):
            raise Refused(f"has no {path[:80]!r} of its own")
        found = found[name]
    if not isinstance(found, kind):
        raise Refused(f"has {path[:80]!r} as something else than a {kind.__name__.lower()}")
    return found


if __name__ == "__main__":
    main()
