"""Tensors of a PyTorch checkpoint file, read without PyTorch.

Both containers: the zip file of PyTorch 1.6 and later, and the row of pickles before it. What is in
the pickles, `torch_pickle` reads.
"""

import functools
import io
import zipfile
from collections.abc import Callable
from os import PathLike
from typing import BinaryIO

import numpy as np

from tf_advseg.bounded_reader import BoundedReader
from tf_advseg.errors import InputError, first_line
from tf_advseg.models.torch_pickle import (
    STORAGES,
    Machine,
    Refused,
    Storage,
    Stream,
    Tensor,
    kind_of,
    shown,
)

_ALLOWED = "a state dict of tensors, as torch.save(model.state_dict(), path) writes it"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_CHUNK = 2**24  # Bytes that are read at a time.
_ZIP_START = b"PK\x03\x04"
_OTHER_FILES = {b"\x89HDF\r\n\x1a\n": "an HDF5 file", b"\x1f\x8b": "a gzip file"}

# The usual names of a state dict within a checkpoint, the first that holds tensors wins.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights")


def read_torch_file(path: str | PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch state dict, whichever version since 0.2 wrote it.

    A state dict within a checkpoint is found under its usual names, such as "state_dict", and what
    is beside it, or in it and no tensor, is left out.

    Args:
      path: the file; no code of it is run.

    Returns:
      The tensors by name in the file's order, without the prefix "module." of DataParallel. Each
      has its own shape, and the dtype it was saved in, but float32 for bfloat16. They are
      read-only, and share memory, and need not be contiguous, where the file's tensors do so.

    Raises:
      InputError: the file cannot be read, is damaged, or is anything but a state dict of tensors.
    """
    try:
        with open(path, "rb") as handle:
            return _read(handle)
    except Refused as error:
        raise InputError(f"{path} {error}; allowed: {_ALLOWED}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or first_line(error)}") from None
    except Exception as error:
        # A damaged file can make the standard library raise errors of a dozen types.
        found = f"{type(error).__name__}: {shown(first_line(error))}"
        raise InputError(
            f"{path} is damaged or incomplete ({found}); allowed: {_ALLOWED}"
        ) from None


def _read(handle: BinaryIO) -> dict[str, np.ndarray]:
    size = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    start = handle.read(16)
    handle.seek(0)
    if start.startswith(_ZIP_START):
        reader = BoundedReader(io.FileIO(handle.fileno(), closefd=False))
        with zipfile.ZipFile(reader) as archive:
            root, load = _open_zip(archive, size)
            return _arrays(root, load)
    # Any pickle of today starts with byte 128 and its protocol.
    if start[:1] != b"\x80":
        raise Refused(f"is no PyTorch file but {_described(start)}")
    root, load = _open_legacy(handle, size)
    return _arrays(root, load)


def _described(start: bytes) -> str:
    if start[8:9] == b"{":
        return "a safetensors file"
    known = (what for magic, what in _OTHER_FILES.items() if start.startswith(magic))
    return next(known, f"starts with {start[:8]!r}" if start else "empty")


def _zip_folders(names: list[str]) -> list[str]:
    """The folders of an archive, each with its "/", that hold a data.pkl."""
    parts = [name.partition("/") for name in names]
    return [folder + "/" for folder, _, name in parts if name == "data.pkl"]


def _open_zip(archive: zipfile.ZipFile, size: int) -> tuple[object, Callable]:
    """Opens a file of PyTorch 1.6 or later: a zip file with one member for each storage."""
    members = {member.filename: member for member in archive.infolist()}
    folders = _zip_folders(archive.namelist())
    if len(folders) != 1:
        raise Refused(f"is a zip file with {len(folders)} data.pkl, not one")
    if folders[0] + "constants.pkl" in members:
        raise Refused("is a TorchScript archive, a program")
    for member in archive.infolist():
        # PyTorch compresses nothing; what inflates could fill any memory.
        stored = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
        if not stored or member.compress_size != member.file_size:
            raise Refused(f"has a compressed or encrypted member {member.filename!r}")
    if sum(member.file_size for member in archive.infolist()) > size:
        # They overlap, or reach over the end.
        raise Refused("has members that promise more bytes than the file has")
    order = b"little"
    if folders[0] + "byteorder" in members:
        order = _content(archive, members[folders[0] + "byteorder"])
    if order not in (b"little", b"big"):
        raise Refused(f"has the byte order {order[:20]!r}, neither little nor big")
    raw = _content(archive, members[folders[0] + "data.pkl"])
    root = Machine(Stream(io.BytesIO(raw), len(raw))).run()

    def load(storage: Storage) -> np.ndarray:
        member = members.get(f"{folders[0]}data/{storage.key}")
        expected = storage.numel * np.dtype(STORAGES[storage.kind]).itemsize
        if member is None or member.file_size != expected:
            found = "none" if member is None else f"{member.file_size}"
            raise Refused(f"has {found} of the {expected} bytes of storage {storage.key!r}")
        return _decode(_content(archive, member), storage.kind, "<" if order == b"little" else ">")

    return root, load


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        return b"".join(iter(functools.partial(file.read, _CHUNK), b""))


def _open_legacy(handle: BinaryIO, size: int) -> tuple[object, Callable]:
    """Opens a file of PyTorch before 1.6: five pickles, then one storage after the other."""
    stream = Stream(handle, size)
    if Machine(stream).run() != _LEGACY_MAGIC:
        raise Refused("is a pickle, but none of PyTorch")
    if Machine(stream).run() != _LEGACY_PROTOCOL:
        raise Refused(f"has another version than {_LEGACY_PROTOCOL} of PyTorch's old format")
    # The sizes and byte order of the writer's C types: the file is little-endian all the same.
    Machine(stream).run()
    machine = Machine(stream)
    root = machine.run()
    keys = Machine(stream).run()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refused("has no list of storages")
    places = {}
    for key in keys:
        if key not in machine.storages or key in places:
            raise Refused(f"has a storage {shown(key)} that no tensor or another one has")
        kind, numel = machine.storages[key]
        header = stream.read(8)
        nbytes = numel * np.dtype(STORAGES[kind]).itemsize
        places[key] = handle.tell(), nbytes
        if header != numel.to_bytes(8, "little") or handle.tell() + nbytes > size:
            raise Refused(f"has less or more than the {numel} values of storage {shown(key)}")
        handle.seek(nbytes, io.SEEK_CUR)

    def load(storage: Storage) -> np.ndarray:
        if storage.key not in places:
            raise Refused(f"has nothing of storage {shown(storage.key)}")
        place, nbytes = places[storage.key]
        handle.seek(place)
        return _decode(handle.read(nbytes), storage.kind, "<")

    return root, load


def _decode(raw: bytes, kind: str, order: str) -> np.ndarray:
    """Returns the values of a storage: [values], read-only, in this machine's byte order."""
    values = np.frombuffer(raw, order + STORAGES[kind])
    if kind == "torch.BFloat16Storage":
        # It is the upper half of a float32.
        values = (values.astype(np.uint32) << 16).view(np.float32)
    elif kind == "torch.BoolStorage":
        values = values != 0
    else:
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    values.flags.writeable = False
    return values


def _arrays(root: object, load: Callable[[Storage], np.ndarray]) -> dict[str, np.ndarray]:
    tensors = _tensors(root)
    for name in _WRAPPERS:
        inner = _tensors(root.get(name)) if isinstance(root, dict) else {}
        if inner:
            tensors = inner
            break
    if not tensors:
        raise Refused(f"holds no tensors by name but a {kind_of(root)}")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    loaded: dict[str, np.ndarray] = {}
    arrays = {}
    for name, tensor in tensors.items():
        key = tensor.storage.key
        if key not in loaded:
            loaded[key] = load(tensor.storage)
        arrays[name] = _view(tensor, loaded[key])
    return arrays


def _tensors(value: object) -> dict[str, Tensor]:
    """The named tensors of a mapping; none of any other value."""
    items = value.items() if isinstance(value, dict) else ()
    return {k: v for k, v in items if isinstance(k, str) and isinstance(v, Tensor)}


def _view(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """Returns a tensor as a view: any number of names takes no more memory than the file."""
    if 0 in tensor.size:
        return np.zeros(tensor.size, values.dtype)
    step = values.itemsize
    # The stride of a dimension of size 1 is never used and may be any number.
    strides = tuple(s * step if n > 1 else 0 for n, s in zip(tensor.size, tensor.stride))
    start = (tensor.storage.start + tensor.offset) * step
    return np.ndarray(tensor.size, values.dtype, values, start, strides)
