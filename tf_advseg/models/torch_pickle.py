"""The pickle in a PyTorch checkpoint, read without running what it says.

A pickle is a program. Here a small machine of its own steps through it: it knows the instructions
that a state dict needs and a fixed table of names, each of which stands for harmless data or a
function of this file. Nothing is imported, nothing is looked up.
"""

import math
import pickletools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

# NumPy's type of each storage type; BFloat16 and Bool need more than that (see `_decode`).
STORAGES = {
    "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8",
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": "u2",
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "u1",
}
_FUNCTIONS = {
    "collections.OrderedDict",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
}
# What training scripts save beside the weights. It is passed over: none of it is ever made.
_PASSED_OVER = {
    "__builtin__.set",
    "_codecs.encode",
    "argparse.Namespace",
    "builtins.set",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "torch.Size",
    "torch.device",
}
# The state dict of a large network takes some 50 000 steps.
_MAX_STEPS = 2_000_000
_MAX_LINE = 4096
_MAX_RANK = 32  # NumPy's
_MAX_NUMBER = 1 << 58  # times eight bytes it still fits 64 bits

_PUSHED = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}  # sets are not needed
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Refused(Exception):
    """What is wrong with the file, as the end of a sentence that starts with its path."""


class _PassedOver:
    """Stands for everything that is not needed."""


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class Storage:
    kind: str
    key: str
    numel: int  # of the whole storage in the file
    start: int  # of the part that is meant
    length: int


@dataclass(frozen=True)
class Tensor:
    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Stream:
    """A file's bytes for `pickletools`, which asks for as many as the file claims to have."""

    def __init__(self, handle: BinaryIO, size: int):
        self._handle = handle
        self._size = size

    def read(self, count: int) -> bytes:
        # Python would set aside the memory for all of them first.
        return self._handle.read(max(0, min(count, self._size - self._handle.tell())))

    def readline(self) -> bytes:
        return self._handle.readline(_MAX_LINE)


class Machine:
    """Runs one pickle; all that it can make is plain data, `_Global`, `Storage` and `Tensor`."""

    def __init__(self, stream: Stream):
        self.storages: dict[str, tuple[str, int]] = {}  # kind and numel by key
        self._stream = stream
        self._result: object = None
        self._steps = 0
        self._stack: list = []
        self._marked: list[list] = []  # the stacks below each mark
        self._memo: dict[int, object] = {}

    def run(self) -> object:
        """Returns what the pickle holds, with the stream just behind it."""
        for opcode, argument, _ in pickletools.genops(self._stream):
            self._count(1)
            try:
                self._step(opcode.name, argument)
            except (IndexError, KeyError, TypeError, ValueError, AttributeError):
                raise Refused(f"has a broken pickle, at {opcode.name}") from None
        return self._result

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _MAX_STEPS:
            raise Refused(f"has a pickle of more than {_MAX_STEPS} steps")

    def _step(self, name: str, argument: object) -> None:
        # Exact types, values and lengths are checked where they are used.
        stack = self._stack
        if name in _PUSHED:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            self._marked.append(stack)
            self._stack = []
        elif name == "TUPLE":
            items = tuple(self._pop_mark())  # it changes the stack
            self._stack.append(items)
        elif name in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[name])))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            self._extend(self._pop(1) if name == "APPEND" else self._pop_mark())
        elif name in ("SETITEM", "SETITEMS"):
            self._update(self._pop(2) if name == "SETITEM" else self._pop_mark())
        elif name == "GLOBAL":
            stack.append(_global(argument.replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_global(".".join(self._pop(2))))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            stack.append(self._call(*self._pop(2)))
        elif name == "BUILD":
            # The state of a dict is the version numbers of its layers.
            self._pop(1)
            if not isinstance(stack[-1], (dict, _PassedOver)):
                raise Refused(f"sets the state of a {kind_of(stack[-1])}")
        elif name == "STOP":
            self._result = stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"has the pickle instruction {name}, which no state dict needs")

    def _pop(self, count: int) -> list:
        if len(self._stack) < count:
            raise IndexError
        popped = self._stack[-count:]
        del self._stack[-count:]
        return popped

    def _pop_mark(self) -> list:
        popped = self._stack
        self._stack = self._marked.pop()
        return popped

    def _extend(self, values: list) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, _PassedOver):
            raise Refused(f"has a pickle that appends to a {kind_of(target)}")

    def _update(self, keys_and_values: list) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            _set_items(target, zip(keys_and_values[::2], keys_and_values[1::2], strict=True))
        elif not isinstance(target, _PassedOver):
            raise Refused(f"has a pickle that sets items of a {kind_of(target)}")

    def _call(self, function: object, arguments: object) -> object:
        if isinstance(function, _PassedOver):
            return function
        match getattr(function, "name", None), arguments:
            case "collections.OrderedDict", ():
                return {}
            case "collections.OrderedDict", (list(pairs),):
                # Python 2 writes them so. Many calls may get one list: each counts in full.
                self._count(len(pairs))
                return _set_items({}, pairs)
            case "torch._utils._rebuild_parameter", (Tensor() as tensor, *_):
                return tensor
            case (
                "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2",
                (Storage() as storage, int(offset), tuple(size), tuple(stride), *_),
            ):
                return _checked_tensor(storage, offset, size, stride)
        raise Refused(f"has a pickle that calls {kind_of(function)} with what it does not take")

    def _storage(self, persistent_id: object) -> Storage:
        match persistent_id:
            case ("storage", _Global(kind), str(key), _, int(numel), *view) if kind in STORAGES:
                pass
            case _:
                raise Refused("has a pickle that asks for something else than a storage")
        match view:
            case [] | [None]:
                start, length = 0, numel
            case [(_, int(start), int(length))]:
                pass  # Old files only: a view of a storage, the first is its own key.
            case _:
                raise Refused(f"has a view of storage {shown(key)} that is none")
        if not 0 <= start <= start + length <= numel <= _MAX_NUMBER:
            raise Refused(f"has a storage {shown(key)} of an impossible size")
        if self.storages.setdefault(key, (kind, numel)) != (kind, numel):
            raise Refused(f"has two types or sizes of storage {shown(key)}")
        return Storage(kind, key, numel, start, length)


def _global(name: str) -> _Global | _PassedOver:
    if name in _PASSED_OVER:
        return _PassedOver()
    if name in _FUNCTIONS or name in STORAGES:
        return _Global(name)
    raise Refused(f"asks for {shown(name)}, which no state dict needs")


def _set_items(target: dict, pairs: Iterable) -> dict:
    for key, value in pairs:
        # Hashing a tuple of tuples of tuples can take for ever, and huge numbers can share a hash.
        small = isinstance(key, int) and abs(key) < 1 << 64
        if not (small or key is None or isinstance(key, str)):
            raise Refused(f"has a dict with the key {kind_of(key)}, neither a name nor a number")
        target[key] = value
    return target


def _checked_tensor(storage: Storage, offset: int, size: tuple, stride: tuple) -> Tensor:
    """Returns the tensor; raises Refused if it is not all inside of its storage."""
    numbers = (offset, *size, *stride) if len(size) == len(stride) <= _MAX_RANK else (None,)
    if not all(isinstance(n, int) and 0 <= n <= _MAX_NUMBER for n in numbers):
        raise Refused("has a tensor of an impossible shape, offset or stride")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride))
    # A stride of 0 repeats values for nothing: the second number is the one that takes memory.
    if 0 not in size and max(last + 1, math.prod(size)) > storage.length:
        raise Refused(f"has a tensor of shape {size} in a storage of {storage.length} values")
    if math.prod(n or 1 for n in size) > _MAX_NUMBER:
        raise Refused(f"has an empty tensor of the impossible shape {size}")
    return Tensor(storage, offset, size, stride)


def kind_of(value: object) -> str:
    """Returns what a value of the pickle is, for messages."""
    if isinstance(value, _Global):
        return value.name
    return "something else" if isinstance(value, _PassedOver) else type(value).__name__.strip("_")


def shown(text: str) -> str:
    """Returns a text of the file, short and without line breaks."""
    shown = repr(text)[1:-1]
    return shown if len(shown) <= 80 else shown[:77] + "..."
