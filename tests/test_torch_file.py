"""The reader of PyTorch's files: ones written by hand, and by PyTorch where it is."""

import pickle
import struct
import zipfile

import numpy as np
import pytest
from torch_files import (
    MAGIC,
    Call,
    Global,
    Storage,
    Tensor,
    bfloat16,
    write_legacy,
    write_zip,
)

from tf_advseg.errors import InputError
from tf_advseg.models.torch_file import read_torch_file

WRITERS = [write_zip, write_legacy]
both = pytest.mark.parametrize("write", WRITERS, ids=["zip", "legacy"])
VALUES = {
    "f4": [1.5, -2.0, 3e38],
    "f8": [1.5, -2.0, 1e300],
    "f2": [1.5, -2.0, 65504],
    "i8": [1, -2, 2**62],
    "i4": [1, -2, 2**30],
    "i2": [1, -2, 2**14],
    "i1": [1, -2, 127],
    "u1": [1, 2, 255],
    "b1": [True, False, True],
}


def state():
    """A small network's tensors."""
    rng = np.random.default_rng(3)
    return {
        "conv1.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bn1.running_mean": rng.normal(size=4),
        "bn1.num_batches_tracked": np.array(7),
        "half": np.array([[0.5, 2]], np.float16),
    }


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value)


def assert_refused(path, found):
    with pytest.raises(InputError, match=found) as caught:
        read_torch_file(path)
    check_message(path, caught.value)


def check_message(path, error):
    message = str(error)
    assert len(message.splitlines()) == 1 and message.isprintable() and len(message) < 600
    assert message.startswith((str(path), f"cannot read {path}"))
    # These would be errors of the reader.
    assert not any(f"({name}" in message for name in ("NameError", "KeyError", "AttributeError"))


@both
class TestValues:
    def test_every_dtype(self, write, tmp_path):
        expected = {code: np.array(values, code) for code, values in VALUES.items()}
        write(tmp_path / "a.pth", expected)
        assert_same(read_torch_file(tmp_path / "a.pth"), expected)

    def test_bfloat16_becomes_float32(self, write, tmp_path):
        values = np.array([[1.5, -2.0], [2.0**100, 0]], np.float32)
        write(tmp_path / "a.pth", {"a": bfloat16(values)})
        assert_same(read_torch_file(tmp_path / "a.pth"), {"a": values})

    def test_bool_of_any_byte_but_zero_is_true(self, write, tmp_path):
        raw = Storage(np.array([0, 1, 255], np.uint8), "BoolStorage")
        write(tmp_path / "a.pth", {"a": Tensor(raw, 0, (3,), (1,))})
        (found,) = read_torch_file(tmp_path / "a.pth").values()
        assert found.view(np.uint8).tolist() == [0, 1, 1]
        assert not found.flags.writeable

    def test_offsets_and_strides_of_a_shared_storage(self, write, tmp_path):
        shared = Storage(np.arange(6, dtype=np.float32))
        parts = {
            "transposed": Tensor(shared, 0, (3, 2), (1, 3)),
            "every other": Tensor(shared, 1, (3,), (2,)),
            "scalar": Tensor(shared, 4, (), ()),
            "overlapping": Tensor(shared, 0, (2, 3), (1, 2)),
            "odd stride of one": Tensor(shared, 5, (1, 1), (77, 2**57)),
        }
        write(tmp_path / "a.pth", parts)
        found = read_torch_file(tmp_path / "a.pth")
        assert {name: value.tolist() for name, value in found.items()} == {
            "transposed": [[0, 3], [1, 4], [2, 5]],
            "every other": [1, 3, 5],
            "scalar": 4,
            "overlapping": [[0, 2, 4], [1, 3, 5]],
            "odd stride of one": [[5]],
        }
        assert np.shares_memory(found["transposed"], found["every other"])
        assert not any(value.flags.writeable for value in found.values())

    def test_no_dimensions_and_no_values(self, write, tmp_path):
        expected = {"0-d": np.array(7), "none": np.zeros((0, 3), np.float32)}
        write(tmp_path / "a.pth", expected)
        assert_same(read_torch_file(tmp_path / "a.pth"), expected)

    @pytest.mark.parametrize("rebuild", ["v1", "v2", "parameter"])
    def test_every_way_to_rebuild_a_tensor(self, write, rebuild, tmp_path):
        storage = Storage(np.array([1, 2], np.int16))
        write(tmp_path / "a.pth", {"a": Tensor(storage, 0, (2,), (1,), rebuild)})
        assert_same(read_torch_file(tmp_path / "a.pth"), {"a": storage.values})

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_every_pickle_protocol(self, write, protocol, tmp_path):
        write(tmp_path / "a.pth", state(), protocol=protocol)
        assert_same(read_torch_file(tmp_path / "a.pth"), state())

    def test_more_names_than_a_short_memo(self, write, tmp_path):
        expected = {f"layer{i}.weight": np.full(2, i) for i in range(400)}
        write(tmp_path / "a.pth", expected)
        assert_same(read_torch_file(tmp_path / "a.pth"), expected)


class TestContainers:
    @pytest.mark.parametrize("byteorder", ["little", "big", None])
    def test_byte_order_of_a_zip_file(self, byteorder, tmp_path):
        write_zip(tmp_path / "a.pth", state(), byteorder=byteorder)
        found = read_torch_file(tmp_path / "a.pth")
        assert_same(found, state())
        assert all(value.dtype.isnative for value in found.values())

    def test_unknown_byte_order_is_refused(self, tmp_path):
        write_zip(tmp_path / "a.pth", state(), byteorder="middle")
        assert_refused(tmp_path / "a.pth", "byte order b'middle'")

    def test_file_of_python_2(self, tmp_path):
        write_legacy(tmp_path / "a.pth", {**state(), "é": np.ones(1)}, python2=True)
        assert b"U\x0cconv1.weight" in (tmp_path / "a.pth").read_bytes()
        assert_same(read_torch_file(tmp_path / "a.pth"), {**state(), "é": np.ones(1)})

    def test_long_name_of_python_2(self, tmp_path):
        name = b"n" * 300
        write_legacy(tmp_path / "a.pth", {"name": np.ones(2)}, python2=True, metadata=False)
        raw = (tmp_path / "a.pth").read_bytes()
        assert raw.count(b"U\x04name") == 1
        raw = raw.replace(b"U\x04name", b"T" + struct.pack("<i", len(name)) + name)
        (tmp_path / "a.pth").write_bytes(raw)
        assert_same(read_torch_file(tmp_path / "a.pth"), {"n" * 300: np.ones(2)})

    def test_view_of_a_storage_in_an_old_file(self, tmp_path):
        part = Storage(np.arange(5.0), view=("123", 2, 3))
        write_legacy(tmp_path / "a.pth", {"a": Tensor(part, 1, (2,), (1,))})
        assert_same(read_torch_file(tmp_path / "a.pth"), {"a": np.array([3.0, 4.0])})

    @pytest.mark.parametrize("view", [("1", 3, 3), ("1", -1, 3), ("1", 4, -2), ("1", 0.5, 2), 5])
    def test_view_beyond_its_storage_is_refused(self, view, tmp_path):
        part = Storage(np.arange(5.0), view=view)
        write_legacy(tmp_path / "a.pth", {"a": Tensor(part, 0, (1,), (1,))})
        assert_refused(tmp_path / "a.pth", "impossible size|view of storage")

    def test_other_zip_files_are_no_torch_files(self, tmp_path):
        np.savez(tmp_path / "a.npz", a=np.ones(2))
        assert_refused(tmp_path / "a.npz", "zip file with 0 data.pkl")
        with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
            archive.writestr("a/data.pkl", b"")
            archive.writestr("b/data.pkl", b"")
        assert_refused(tmp_path / "two.zip", "zip file with 2 data.pkl")

    def test_torchscript_is_refused(self, tmp_path):
        write_zip(tmp_path / "a.pt", state(), extra={"constants.pkl": b"\x80\x02)."})
        assert_refused(tmp_path / "a.pt", "TorchScript")

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"", "empty"),
            (b"hello", "starts with b'hello'"),
            (struct.pack("<Q", 20) + b'{"a":{"dtype":"F32"}', "safetensors"),
            (b"\x89HDF\r\n\x1a\n" + bytes(90), "HDF5"),
            (b"\x1f\x8b" + bytes(90), "gzip"),
            (pickle.dumps({"a": 1}, 2), "a pickle, but none of PyTorch"),
            (pickle.dumps(MAGIC, 2) + pickle.dumps(1000, 2), "another version than 1001"),
            (b"PK\x03\x04" + bytes(90), "damaged or incomplete .BadZipFile"),
        ],
    )
    def test_other_files_are_refused(self, content, found, tmp_path):
        (tmp_path / "a.pth").write_bytes(content)
        assert_refused(tmp_path / "a.pth", found)

    def test_no_file_and_a_folder(self, tmp_path):
        for path in (tmp_path, tmp_path / "none.pth"):
            with pytest.raises(InputError, match=f"cannot read {path}: (Is a|No such)"):
                read_torch_file(path)

    @both
    def test_suffix_does_not_matter(self, write, tmp_path):
        write(tmp_path / "a.h5", state())
        assert_same(read_torch_file(str(tmp_path / "a.h5")), state())


@both
class TestCheckpoints:
    def test_metadata_makes_no_difference(self, write, tmp_path):
        write(tmp_path / "a.pth", state(), metadata=False)
        assert_same(read_torch_file(tmp_path / "a.pth"), state())

    def test_plain_dict(self, write, tmp_path):
        write(tmp_path / "a.pth", state(), wrap=dict)
        assert_same(read_torch_file(tmp_path / "a.pth"), state())

    @pytest.mark.parametrize("name", ["state_dict", "model", "model_state_dict", "net"])
    def test_state_dict_within_a_checkpoint(self, write, name, tmp_path):
        other = Tensor(Storage(np.ones(1)), 0, (1,), (1,))

        def wrap(made):
            optimizer = {"state": {0: {"exp_avg": other}}, "param_groups": [{"lr": 0.1}]}
            # As in PyTorch's own example, the best measure is a tensor.
            return {"epoch": 3, "best": other, "miou": 0.5, "optimizer": optimizer, name: made}

        write(tmp_path / "a.pth", state(), wrap=wrap)
        assert_same(read_torch_file(tmp_path / "a.pth"), state())

    def test_what_training_scripts_save_beside_is_left_out(self, write, tmp_path):
        def wrap(made):
            dtype = Call(Global("numpy dtype"), ("f8", False, True), (3, "<", None, -1, -1, 0))
            text = Call(Global("_codecs encode"), ("abc", "latin1"))
            best = Call(Global("numpy.core.multiarray scalar"), (dtype, text))
            seen = Call(Global("__builtin__ set"), ([1, 2],))
            return {"model": made, "best": best, "seen": seen}

        write(tmp_path / "a.pth", {**state(), "_extra_state": None}, wrap=wrap)
        assert_same(read_torch_file(tmp_path / "a.pth"), state())

    def test_prefix_of_data_parallel_is_stripped(self, write, tmp_path):
        write(tmp_path / "a.pth", state(), prefix="module.")
        assert_same(read_torch_file(tmp_path / "a.pth"), state())

    def test_a_layer_named_module_keeps_its_name(self, write, tmp_path):
        expected = {"module.weight": np.ones(2), "head.weight": np.ones(1)}
        write(tmp_path / "a.pth", expected)
        assert_same(read_torch_file(tmp_path / "a.pth"), expected)

    @pytest.mark.parametrize(
        ("content", "found"),
        [({}, "a dict"), ({"model": {"a": 1}}, "a dict"), ([1], "a list"), (None, "a NoneType")],
    )
    def test_no_tensors_are_refused(self, write, content, found, tmp_path):
        write(tmp_path / "a.pth", {}, wrap=lambda made: content)
        assert_refused(tmp_path / "a.pth", f"no tensors by name but {found}")

    def test_whole_model_is_refused(self, write, tmp_path):
        network = Call(Global("deeplab.model Res_Deeplab"), ())
        write(tmp_path / "a.pth", {}, wrap=lambda made: network)
        assert_refused(tmp_path / "a.pth", r"asks for deeplab\.model\.Res_Deeplab, .*allowed: a ")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


class TestAgainstTorch:
    """PyTorch's own files, and what PyTorch makes of ours."""

    @pytest.fixture(params=[True, False], ids=["zip", "legacy"])
    def save(self, request, torch, tmp_path):
        def write(value, **options):
            options["_use_new_zipfile_serialization"] = request.param
            torch.save(value, tmp_path / "a.pth", **options)
            return tmp_path / "a.pth"

        return write

    def network(self, torch):
        torch.manual_seed(0)
        layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(2, 5)]
        return torch.nn.Sequential(*layers)

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_state_dict(self, torch, save, protocol):
        expected = self.network(torch).state_dict()
        path = save(expected, pickle_protocol=protocol)
        assert_same(read_torch_file(path), {k: v.numpy() for k, v in expected.items()})

    def test_checkpoint(self, torch, save):
        network = self.network(torch)
        optimizer = torch.optim.Adam(network.parameters())
        sum(p.sum() for p in network.parameters()).backward()
        optimizer.step()
        checkpoint = {
            "epoch": 3,
            "best": torch.tensor(0.5),
            "miou": np.float64(0.5),
            "seen": {1, 2},
            "size": torch.Size([1]),
            "device": torch.device("cpu"),
            "optimizer": optimizer.state_dict(),
            "state_dict": torch.nn.DataParallel(network).state_dict(),
        }
        expected = {k: v.numpy() for k, v in network.state_dict().items()}
        assert_same(read_torch_file(save(checkpoint)), expected)

    def test_every_dtype(self, torch, save):
        names = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8"]
        names += ["bool", "bfloat16"]  # the last has no match in NumPy
        values = {n: torch.tensor([[1, 0, 3]]).to(getattr(torch, n)) for n in names}
        expected = {n: v.numpy() for n, v in values.items() if n != "bfloat16"}
        expected["bfloat16"] = np.array([[1, 0, 3]], np.float32)
        assert_same(read_torch_file(save(values)), expected)

    def test_views_and_parameters(self, torch, save):
        whole = torch.arange(24.0).reshape(2, 3, 4)
        values = {
            "whole": whole,
            "permuted": whole.permute(2, 0, 1),
            "part": whole[1, ::2, 1:],
            "diagonal": whole[0].diagonal(),
            "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
            "none": whole[:, 3:],
            "scalar": whole[1, 1, 1],
            "parameter": torch.nn.Parameter(whole.clone()),
        }
        expected = {name: value.detach().numpy() for name, value in values.items()}
        assert_same(read_torch_file(save(values)), expected)

    def test_whole_model_and_script_are_refused(self, torch, save, tmp_path):
        assert_refused(save(self.network(torch)), r"asks for torch\.nn\.modules\.container")

    @both
    def test_torch_reads_our_files(self, torch, write, tmp_path):
        expected = {code: np.array(values, code) for code, values in VALUES.items()}
        expected["0-d"] = np.array(7)
        shared = Storage(np.arange(6.0))
        parts = {
            "turned": Tensor(shared, 0, (3, 2), (1, 3)),
            "parameter": Tensor(shared, 1, (2,), (2,), "parameter"),
            "half": bfloat16(np.ones(2)),
        }
        write(tmp_path / "a.pth", {**expected, **parts})
        found = torch.load(tmp_path / "a.pth", weights_only=True)
        assert found.pop("half").dtype == torch.bfloat16
        expected["turned"] = shared.values.reshape(2, 3).T
        expected["parameter"] = np.array([1.0, 3.0])
        assert_same({k: v.detach().numpy() for k, v in found.items()}, expected)

    def test_torch_reads_our_files_of_python_2_and_of_old_versions(self, torch, tmp_path):
        old = Tensor(Storage(np.ones(2)), 0, (2,), (1,), "v1")
        write_legacy(tmp_path / "a.pth", {"old": old, **state()}, python2=True)
        found = torch.load(tmp_path / "a.pth", weights_only=True)
        expected = {"old": np.ones(2), **state()}
        assert_same({k: v.numpy() for k, v in found.items()}, expected)

    def test_our_pickles_are_torchs_to_the_byte(self, torch, tmp_path):
        layer = torch.nn.Linear(3, 2)
        torch.save(layer.state_dict(), tmp_path / "theirs.pth")
        ours = {name: value.numpy() for name, value in layer.state_dict().items()}
        write_zip(tmp_path / "ours.pth", ours)
        members = []
        for name in ("theirs", "ours"):
            with zipfile.ZipFile(tmp_path / f"{name}.pth") as archive:
                kept = ("data.pkl", "byteorder", "data/0", "data/1", "version")
                members.append({k: archive.read(f"{name}/{k}") for k in kept})
        assert members[0] == members[1]
