"""The reader of PyTorch files against attackers, bombs and damage: an InputError, and no more."""

import copy
import os
import pickle
import random
import struct
import sys
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from test_torch_file import assert_refused, assert_same, both, check_message, state
from torch_files import MAGIC, Storage, Tensor, write_legacy, write_zip

from tf_advseg import bounded_reader
from tf_advseg.errors import InputError
from tf_advseg.models import torch_file
from tf_advseg.models.torch_file import read_torch_file


def zip_of(path, program, **members):
    """Writes a zip file around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", program)
        for name, content in members.items():
            archive.writestr(f"a/data/{name}", content)


def legacy_of(path, program, **members):
    """Writes an old file around a pickle, and no storages."""
    head = [pickle.dumps(value, 2) for value in (MAGIC, 1001, {})]
    path.write_bytes(b"".join([*head, program, pickle.dumps([], 2)]))


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


# All of them run a command or import `evil` where pickle.load reads them.
TOUCH = text("touch executed")
PROGRAMS = {
    "os.system": b"\x80\x02cos\nsystem\n" + TOUCH + b"\x85R.",
    "posix.system": b"\x80\x02cposix\nsystem\n" + TOUCH + b"\x85R.",
    "builtins.eval": b"\x80\x02cbuiltins\neval\n" + text("open('executed', 'w')") + b"\x85R.",
    "__builtin__.eval": b"\x80\x02c__builtin__\neval\n" + text("1") + b"\x85R.",
    "builtins.getattr": b"\x80\x02cbuiltins\ngetattr\n(cos\npath\n" + text("os") + b"tR.",
    "torch.hub.load": b"\x80\x02ctorch.hub\nload\n" + text("evil/evil") + b"\x85R.",
    "torch.storage._load_from_bytes": b"\x80\x02ctorch.storage\n_load_from_bytes\nC\x01a\x85R.",
    "evil.anything": b"\x80\x02cevil\nanything\n.",
    "evil.stacked": b"\x80\x04" + text("evil") + text("stacked") + b"\x93.",
    "torch._utils.importlib.import_module": (
        b"\x80\x02ctorch._utils\nimportlib.import_module\n" + text("evil") + b"\x85R."
    ),
    "collections._sys.modules": b"\x80\x04" + text("collections") + text("_sys.modules") + b"\x93.",
    "instruction INST": b"\x80\x02(" + TOUCH + b"ios\nsystem\n.",
    "instruction OBJ": b"\x80\x02(ccollections\nOrderedDict\n" + TOUCH + b"o.",
    "instruction NEWOBJ_EX": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    "instruction EXT1": b"\x80\x02\x82\x01.",
    "instruction PERSID": b"\x80\x02Pevil\n.",
    "instruction DUP": b"\x80\x02]2a.",
    "calls list": b"\x80\x02]" + TOUCH + b"\x85R.",
    "calls str": b"\x80\x02" + text("eval") + b")R.",
    "calls torch.FloatStorage": b"\x80\x02ctorch\nFloatStorage\nK\x05\x85R.",
    "calls collections.OrderedDict with": b"\x80\x02ccollections\nOrderedDict\nK\x05\x85R.",
    "calls torch._utils._rebuild_parameter with": (
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n]\x85R."
    ),
    "calls NoneType": b"\x80\x02N)\x81.",
    "sets the state of a collections.OrderedDict": b"\x80\x02ccollections\nOrderedDict\n}b.",
    "sets the state of a list": b"\x80\x02]}" + text("append") + TOUCH + b"sb.",
    "appends to a torch.FloatStorage": b"\x80\x02ctorch\nFloatStorage\nK\x05a.",
    "sets items of a torch.FloatStorage": b"\x80\x02ctorch\nFloatStorage\nK\x05K\x05s.",
    "something else than a storage": b"\x80\x02" + text("module") + b"\x85Q.",
    "something else than a .*": b"\x80\x02(" + text("storage") + b"]" + text("0") * 2 + b"K\x01tQ.",
}


@pytest.fixture
def nothing_runs(tmp_path, monkeypatch):
    """Fails if a command ran, a module was imported or a file was made."""
    (tmp_path / "evil.py").write_text("open('executed', 'w')")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(tmp_path)
    called = []
    for module, name in ((os, "system"), (os, "popen"), (os, "open")):
        monkeypatch.setattr(module, name, lambda *args, name=name, **kwargs: called.append(name))
    modules = set(sys.modules)
    yield
    assert not called
    assert not os.listdir(".")
    assert not {name for name in set(sys.modules) - modules if "torch" in name or "evil" in name}


@pytest.mark.usefixtures("nothing_runs")
class TestAttacks:
    @pytest.mark.parametrize("wrap", [zip_of, legacy_of])
    @pytest.mark.parametrize("found", PROGRAMS)
    def test_programs_are_refused(self, wrap, found, tmp_path):
        wrap(tmp_path / "a.pth", PROGRAMS[found])
        assert_refused(tmp_path / "a.pth", found)

    def test_the_head_of_an_old_file_is_no_way_in(self, tmp_path):
        for values in ((), (MAGIC,), (MAGIC, 1001), (MAGIC, 1001, {}, {})):
            head = b"".join(pickle.dumps(value, 2) for value in values)
            (tmp_path / "a.pth").write_bytes(head + PROGRAMS["os.system"])
            assert_refused(tmp_path / "a.pth", r"asks for os\.system")

    def test_message_shows_no_line_breaks_of_the_file(self, tmp_path):
        name = text("a\nb\x1b[31m" * 50)
        zip_of(tmp_path / "a.pth", b"\x80\x04" + name + name + b"\x93.")
        assert_refused(tmp_path / "a.pth", r"asks for a\\nb\\x1b")

    @both
    @pytest.mark.parametrize(
        ("offset", "size", "stride"),
        [
            (0, (7,), (1,)),
            (1, (6,), (1,)),
            (6, (), ()),
            (0, (2,), (6,)),
            (0, (2, 3), (6, 1)),
            (0, (2**32, 2**32), (0, 0)),
            (0, (7,), (0,)),
            (5, (3,), (-1,)),
            (-1, (2,), (1,)),
            (0, (-2, -3), (3, 1)),
            (0, (2, 3), (3,)),
            (0, (1,) * 33, (1,) * 33),
            (0, (2**64,), (1,)),
            (0, (0, 2**40, 2**40), (1, 1, 1)),
            (0, (2.0,), (1,)),
            (0, ("a",), (1,)),
            (2**64, (0,), (1,)),
        ],
    )
    def test_tensors_beyond_their_storage_are_refused(self, write, offset, size, stride, tmp_path):
        storage = Storage(np.arange(6.0))
        write(tmp_path / "a.pth", {"a": Tensor(storage, offset, size, stride)})
        assert_refused(tmp_path / "a.pth", r"has a tensor of (shape|an impossible)|an empty tensor")

    @both
    @pytest.mark.parametrize("numel", [5, 7, -1, 2**40, 2**63, 2**2000])
    def test_numel_that_is_not_the_storages_is_refused(self, write, numel, tmp_path):
        storage = Storage(np.arange(6.0), numel=numel)
        write(tmp_path / "a.pth", {"a": Tensor(storage, 0, (1,), (1,))})
        assert_refused(tmp_path / "a.pth", r"of storage|impossible size")

    @both
    def test_one_storage_of_two_types_or_sizes_is_refused(self, write, tmp_path):
        one = Storage(np.arange(6.0), key="0")
        for other in (Storage(np.arange(6), key="0"), Storage(np.arange(3.0), key="0")):
            parts = {str(i): Tensor(s, 0, (1,), (1,)) for i, s in enumerate((one, other))}
            write(tmp_path / "a.pth", parts)
            assert_refused(tmp_path / "a.pth", "two types or sizes of storage 0")

    def test_keys_that_lead_elsewhere_find_nothing(self, tmp_path):
        (tmp_path / "secret").write_bytes(bytes(8))
        for key in ("../../secret", str(tmp_path / "secret"), "../data.pkl", ""):
            lost = Tensor(Storage(np.ones(1), key=key), 0, (1,), (1,))
            write_zip(tmp_path / "b.pth", {"a": lost})
            with zipfile.ZipFile(tmp_path / "b.pth") as archive:
                program = archive.read("b/data.pkl")
            zip_of(tmp_path / "a.pth", program)
            assert_refused(tmp_path / "a.pth", "has none of the 8 bytes")
            legacy_of(tmp_path / "a.pth", program)
            assert_refused(tmp_path / "a.pth", r"something else|view|nothing of storage")

    def test_members_are_never_unpacked(self, tmp_path):
        extra = {"../../../evil": b"evil", "../../executed": b"evil", "/executed": b"evil"}
        write_zip(tmp_path / "a.pth", state(), extra=extra)
        before = sorted(tmp_path.rglob("*"))
        assert_same(read_torch_file(tmp_path / "a.pth"), state())
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("keys", [["5"], ["0", "0"], "0", [0], None])
    def test_wrong_list_of_storages_is_refused(self, keys, tmp_path):
        write_legacy(tmp_path / "a.pth", {"a": Tensor(Storage(np.ones(1), key="0"), 0, (), ())})
        raw = (tmp_path / "a.pth").read_bytes()
        right = pickle.dumps(["0"], 2)
        assert raw.count(right) == 1
        (tmp_path / "a.pth").write_bytes(raw.replace(right, pickle.dumps(keys, 2)) + raw[-16:])
        assert_refused(tmp_path / "a.pth", "list of storages|no tensor or another|of storage")


def peak_of(path):
    """Returns the most memory, in bytes, that the reader takes before it refuses a file."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            read_torch_file(path)
        check_message(path, caught.value)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestBombs:
    @pytest.mark.parametrize("wrap", [zip_of, legacy_of])
    @pytest.mark.parametrize(
        "claim",
        [
            b"\x8e" + struct.pack("<Q", 2**33) + b"abc",
            b"\x8d" + struct.pack("<Q", 2**33) + b"abc",
            b"\x96" + struct.pack("<Q", 2**33) + b"abc",
            b"B" + struct.pack("<I", 2**32 - 1) + b"abc",
            b"X" + struct.pack("<I", 2**32 - 1) + b"abc",
            b"\x8b" + struct.pack("<i", 2**31 - 1) + b"abc",
            b"]r\xff\xff\xff\x7f]r\xff\xff\xff\xff.",
        ],
    )
    def test_claims_of_the_pickle_take_no_memory(self, claim, wrap, tmp_path):
        wrap(tmp_path / "a.pth", b"\x80\x05" + claim)
        assert peak_of(tmp_path / "a.pth") < 1e6

    @both
    def test_claims_of_a_storage_take_no_memory(self, write, tmp_path):
        storage = Storage(np.arange(6.0), numel=2**31)
        write(tmp_path / "a.pth", {"a": Tensor(storage, 0, (2**31,), (1,))})
        assert peak_of(tmp_path / "a.pth") < 1e6

    def test_old_file_without_the_values_it_announces_takes_no_memory(self, tmp_path):
        storage = Storage(np.arange(6.0), numel=2**31)
        write_legacy(tmp_path / "a.pth", {"a": Tensor(storage, 0, (2**31,), (1,))})
        raw = (tmp_path / "a.pth").read_bytes()
        header = (6).to_bytes(8, "little")
        assert raw[-56:-48] == header
        # The storage says what the pickle says, and only the end of the file is against it.
        raw = raw[:-56] + (2**31).to_bytes(8, "little") + raw[-48:]
        (tmp_path / "a.pth").write_bytes(raw)
        assert peak_of(tmp_path / "a.pth") < 1e6
        assert_refused(tmp_path / "a.pth", "less or more than the 2147483648 values")

    def test_zip_bomb_is_refused(self, tmp_path):
        state = {"a": np.zeros(4_000_000)}
        write_zip(tmp_path / "a.pth", state, compression=zipfile.ZIP_DEFLATED)
        assert (tmp_path / "a.pth").stat().st_size < 50_000
        assert peak_of(tmp_path / "a.pth") < 1e6
        assert_refused(tmp_path / "a.pth", "compressed or encrypted member 'a/data.pkl'")

    def test_endless_list_of_members_is_not_read(self, tmp_path, monkeypatch):
        write_zip(tmp_path / "a.pth", {str(i): np.zeros(1) for i in range(100)})
        monkeypatch.setattr(bounded_reader, "_MAX_READ", 4000)
        assert_refused(tmp_path / "a.pth", r"a list of members of \d{4} bytes")

    def test_member_that_is_read_in_pieces_is_whole(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch_file, "_CHUNK", 1000)
        write_zip(tmp_path / "a.pth", state())
        assert_same(read_torch_file(tmp_path / "a.pth"), state())

    def test_overlapping_members_are_refused(self, tmp_path):
        with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02}.")
            archive.writestr("a/data/0", bytes(20_000))
            archive.filelist.append(copy.copy(archive.filelist[1]))
        assert_refused(tmp_path / "a.pth", "members that promise more bytes")

    def test_encrypted_member_is_refused(self, tmp_path):
        write_zip(tmp_path / "a.pth", state())
        raw = bytearray((tmp_path / "a.pth").read_bytes())
        raw[raw.index(b"PK\x01\x02") + 8] |= 1
        (tmp_path / "a.pth").write_bytes(raw)
        assert_refused(tmp_path / "a.pth", "compressed or encrypted")

    def test_many_names_of_one_tensor_take_its_memory_once(self, tmp_path):
        shared = Tensor(Storage(np.zeros(50_000)), 0, (50_000,), (1,))
        turned = Tensor(shared.storage, 0, (100, 500), (1, 100))
        parts = {str(i): (shared, turned)[i % 2] for i in range(400)}
        write_zip(tmp_path / "a.pth", parts)
        tracemalloc.start()
        found = read_torch_file(tmp_path / "a.pth")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(found) == 400
        assert peak < 3e6

    def test_deep_nesting_ends_well(self, tmp_path):
        for program in (
            b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
            b"\x80\x02)" + b"\x85" * 10**5 + b".",
            b"\x80\x02" + b"(" * 10**5 + b"t" * 10**5 + b".",
        ):
            zip_of(tmp_path / "a.pth", program)
            assert_refused(tmp_path / "a.pth", "no tensors by name but a (list|tuple)")

    def test_keys_that_take_long_to_hash_are_refused(self, tmp_path):
        program = b"\x80\x02})" + b"q\x00h\x00\x86" * 23 + b"Ns."
        zip_of(tmp_path / "a.pth", program)
        assert_refused(tmp_path / "a.pth", "the key tuple")

    def test_numbers_that_share_a_hash_are_refused(self, tmp_path):
        zip_of(tmp_path / "a.pth", pickle.dumps({(2**61 - 1) * 64: 1}, 2))
        assert_refused(tmp_path / "a.pth", "the key int")

    def test_endless_programs_are_refused(self, tmp_path):
        zip_of(tmp_path / "a.pth", b"\x80\x02" + b"N" * 2_100_000 + b".")
        assert_refused(tmp_path / "a.pth", "more than 2000000 steps")
        # A list of many pairs, which many dicts are made of.
        pairs = b"](" + b"NN\x86" * 5000 + b"eq\x00"
        calls = b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 3000
        zip_of(tmp_path / "a.pth", b"\x80\x02" + pairs + calls + b".")
        assert_refused(tmp_path / "a.pth", "more than 2000000 steps")


def read_or_refuse(path, size):
    """Reads a damaged file: nothing but InputError may come, or sane arrays of no more memory."""
    try:
        found = read_torch_file(path)
    except InputError as error:
        check_message(path, error)
        return None
    assert all(isinstance(name, str) for name in found)
    for value in found.values():
        assert isinstance(value, np.ndarray) and value.nbytes <= size
        value.sum()
    return found


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
class TestDamage:
    @both
    def test_truncations(self, write, tmp_path):
        expected = {**state(), "large": np.arange(700.0)}
        write(tmp_path / "a.pth", expected)
        raw = (tmp_path / "a.pth").read_bytes()
        assert len(raw) > 5000
        path = tmp_path / "cut.pth"
        for length in [*range(0, len(raw), 97), *range(len(raw) - 40, len(raw))]:
            path.write_bytes(raw[:length])
            assert read_or_refuse(path, len(raw)) is None

    @both
    def test_flipped_bytes(self, write, tmp_path):
        write(tmp_path / "a.pth", state())
        raw = (tmp_path / "a.pth").read_bytes()
        rng = random.Random(7)
        path = tmp_path / "flipped.pth"
        read = 0
        for _ in range(600):
            flipped = bytearray(raw)
            for _ in range(rng.choice((1, 1, 3))):
                flipped[rng.randrange(len(raw))] = rng.randrange(256)
            path.write_bytes(flipped)
            found = read_or_refuse(path, len(raw))
            read += found is not None
        assert 0 < read < 600

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_damaged_pickles_within_a_sound_zip_file(self, protocol, tmp_path):
        # A zip file's checksums would hide them from the reader of the pickle.
        write_zip(tmp_path / "a.pth", state(), protocol=protocol)
        with zipfile.ZipFile(tmp_path / "a.pth") as archive:
            raw = archive.read("a/data.pkl")
            data = {i: archive.read(f"a/data/{i}") for i in range(4)}
        rng = random.Random(protocol)
        path = tmp_path / "flipped.pth"
        read = 0
        for _ in range(600):
            flipped = bytearray(raw)
            start, count = rng.randrange(len(raw)), rng.choice((0, 1, 1, 2, 9))
            flipped[start : start + count] = rng.choice(
                (rng.randbytes(1), b"", raw[-9:], raw[9:30])
            )
            zip_of(path, bytes(flipped), **{str(i): content for i, content in data.items()})
            found = read_or_refuse(path, sum(map(len, data.values())))
            read += found is not None
        assert 0 < read < 600
