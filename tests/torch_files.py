"""Writes files as `torch.save` does, without PyTorch.

A state is a mapping of names to NumPy arrays, or to `Tensor`s where the storage itself matters.
"""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}


@dataclass(frozen=True)
class Global:
    """A name that a pickle asks for. It can be called only to please pickle's own checks."""

    name: str  # module and name, with a space between

    def __call__(self):
        raise AssertionError


@dataclass(frozen=True)
class Call:
    """What a pickle makes by calling: `build`, if any, becomes its state."""

    function: object
    arguments: tuple
    build: object = None


@dataclass(eq=False)
class Storage:
    """A storage with its values; `kind` such as "FloatStorage" is by default that of the dtype.

    The rest is for files that lie: another key or numel than the right one, and a view's metadata.
    """

    values: np.ndarray
    kind: str = ""
    key: str | None = None
    numel: int | None = None
    view: tuple | None = None

    def __post_init__(self):
        self.values = np.asarray(self.values).ravel()
        self.kind = self.kind or KINDS[self.values.dtype.str[1:]]


@dataclass(eq=False)
class Tensor:
    """A part of a storage. `rebuild`: "v1" as before PyTorch 0.4, "v2", or "parameter"."""

    storage: Storage
    offset: int
    size: tuple
    stride: tuple
    rebuild: str = "v2"

    def call(self) -> Call:
        place = (self.storage, self.offset, self.size, self.stride)
        if self.rebuild == "v1":
            return Call(Global("torch._utils _rebuild_tensor"), place)
        hooks = OrderedDict()
        made = Call(Global("torch._utils _rebuild_tensor_v2"), (*place, False, hooks))
        if self.rebuild == "parameter":
            return Call(Global("torch._utils _rebuild_parameter"), (made, True, hooks))
        return made


def bfloat16(values: np.ndarray) -> Tensor:
    """A tensor of bfloat16 with the values' upper halves."""
    values = np.ascontiguousarray(values, np.float32)
    halves = (values.view(np.uint32) >> 16).astype(np.uint16)
    return Tensor(Storage(halves, "BFloat16Storage"), 0, values.shape, strides(values.shape))


def strides(shape: tuple) -> tuple:
    """Strides of a contiguous tensor, counted in values."""
    return tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))


class Pickler(pickle._Pickler):
    """Writes what stands for PyTorch's classes under their names, which are not looked up."""

    dispatch = pickle._Pickler.dispatch.copy()

    def __init__(self, file: io.BytesIO, protocol: int = 2, legacy: bool = False, python2=False):
        super().__init__(file, protocol)
        self.legacy = legacy
        self.python2 = python2
        self.storages: dict[str, Storage] = {}
        self.names: dict[str, Global] = {}

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        # Old versions wrote an address as the key.
        new = 94_000_000_000_000 + 16 * len(self.storages) if self.legacy else len(self.storages)
        same = (key for key, storage in self.storages.items() if storage is obj)
        key = next(same, str(new)) if obj.key is None else obj.key
        self.storages.setdefault(key, obj)
        numel = obj.values.size if obj.numel is None else obj.numel
        place = ("storage", Global(f"torch {obj.kind}"), key, "cpu", numel)
        return (*place, obj.view) if self.legacy else place

    def save_global_name(self, obj):
        obj = self.names.setdefault(obj.name, obj)
        if id(obj) in self.memo:
            return self.write(self.get(self.memo[id(obj)][0]))
        module, name = obj.name.split(" ", 1)
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    def save_call(self, obj):
        self.save_reduce(obj.function, obj.arguments, obj.build, obj=obj)

    def save_tensor(self, obj):
        call = obj.call()
        self.save_reduce(call.function, call.arguments, obj=obj)

    def save_str(self, obj):
        if not self.python2:
            return super().save_str(obj)
        raw = obj.encode("latin-1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        self.memoize(obj)

    def save_ordered(self, obj):
        attributes = dict(vars(obj)) or None
        name = Global("collections OrderedDict")
        if self.python2:
            items = [[key, value] for key, value in obj.items()]
            self.save_reduce(name, (items,), attributes, obj=obj)
        else:
            items = iter(obj.items())
            self.save_reduce(name, (), attributes, None, items, obj=obj)

    dispatch[Global] = save_global_name
    dispatch[Call] = save_call
    dispatch[Tensor] = save_tensor
    dispatch[str] = save_str
    dispatch[OrderedDict] = save_ordered


def _same(state):
    return state


def state_dict(state: Mapping, prefix: str = "", metadata: bool = True) -> OrderedDict:
    """Returns what `Module.state_dict()` does, with the tensors of the state."""
    made = OrderedDict((prefix + name, as_tensor(value)) for name, value in state.items())
    if metadata:
        made._metadata = OrderedDict({"": {"version": 1}})
    return made


def as_tensor(value):
    """Returns an array's contiguous tensor; anything else as it is."""
    if not isinstance(value, np.ndarray):
        return value
    return Tensor(Storage(value), 0, value.shape, strides(value.shape))


def write_zip(
    path: Path,
    state: Mapping,
    *,
    wrap: Callable = _same,
    prefix: str = "",
    metadata: bool = True,
    protocol: int = 2,
    byteorder: str | None = "little",
    extra: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> None:
    """Writes a file of PyTorch 1.6 or later.

    Args:
      path: the file.
      state: the tensors by name.
      wrap: makes the checkpoint out of the state dict.
      prefix: goes before each name.
      metadata: whether the state dict has its `_metadata`.
      protocol: of the pickle.
      byteorder: None leaves the record out, as PyTorch before 2.1 did.
      extra: more members by name, within the archive's folder.
      compression: PyTorch uses none.
    """
    raw = io.BytesIO()
    pickler = Pickler(raw, protocol)
    pickler.dump(wrap(state_dict(state, prefix, metadata)))
    members = {"data.pkl": raw.getvalue()}
    if byteorder is not None:
        members["byteorder"] = byteorder.encode()
    for key, storage in pickler.storages.items():
        order = ">" if byteorder == "big" else "<"
        members[f"data/{key}"] = storage.values.astype(storage.values.dtype.newbyteorder(order))
    members = {**members, "version": b"3\n", **(extra or {})}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(f"{Path(path).stem}/{name}")
            info.compress_type = compression
            # As PyTorch, which fills up the header so that the data start at a multiple of 64.
            unaligned = archive.fp.tell() + 30 + len(info.filename.encode()) + 4
            padding = -unaligned % 64
            info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            archive.writestr(info, bytes(content))


def write_legacy(
    path: Path,
    state: Mapping,
    *,
    wrap: Callable = _same,
    prefix: str = "",
    metadata: bool = True,
    protocol: int = 2,
    python2: bool = False,
) -> None:
    """Writes a file of PyTorch before 1.6; `python2` as Python 2 did. The rest as `write_zip`."""
    raw = io.BytesIO()

    def dump(value) -> Pickler:
        pickler = Pickler(raw, protocol, legacy=True, python2=python2)
        pickler.dump(value)
        return pickler

    dump(MAGIC)
    dump(1001)
    sizes = {"short": 2, "int": 4, "long": 4}
    dump(
        {
            "protocol_version": 1001,
            "little_endian": sys.byteorder == "little",
            "type_sizes": sizes,
        }
    )
    storages = dump(wrap(state_dict(state, prefix, metadata))).storages
    dump(sorted(storages))
    for key in sorted(storages):
        values = storages[key].values
        raw.write(values.size.to_bytes(8, "little"))
        raw.write(values.astype(values.dtype.newbyteorder("<")).tobytes())
    Path(path).write_bytes(raw.getvalue())
