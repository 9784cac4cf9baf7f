"""The reader of Keras files against code, foreign files, bombs and damage."""

import ast
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from tests.damage_keras_files import __name__ as damage_keras_files
from tf_advseg.errors import InputError
from tf_advseg.models import keras_file, keras_reader, pretrained
from tf_advseg.models.keras_file import read_keras_file
from tf_advseg.train_options import TrainConfig
from tf_advseg.training import initial_weights

ROOT = Path(__file__).resolve().parents[1]
KERNEL = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)


def write(path, datasets=None, layers=("conv",), weights=("kernel:0",), **options):
    """Writes a file as Keras does; `datasets(group)` fills each layer's group otherwise."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array(layers, "S")
        for layer in dict.fromkeys(layers):
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array(weights, "S")
            if datasets is None:
                group.create_dataset("kernel:0", data=KERNEL, **options)
            else:
                datasets(group)
    return path


def assert_refused(path, words):
    with pytest.raises(InputError, match=f"^it {words}") as caught:
        read_keras_file(path)
    assert len(str(caught.value).splitlines()) == 1


def test_what_keras_writes_is_read(tmp_path):
    image = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(4, 1, name="conv")(image)
    features = keras.layers.ReLU(name="relu")(features)
    model = keras.Model(image, keras.layers.BatchNormalization(name="bn")(features))
    # Long lists of names are parted into several attributes.
    model.save_weights(tmp_path / "weights.h5")
    model.save(tmp_path / "model.h5")
    for name in ("weights.h5", "model.h5"):
        found = read_keras_file(tmp_path / name)
        assert [name for name in found if found[name]] == ["conv", "bn"]
        for layer in ("conv", "bn"):
            for own, read in zip(model.get_layer(layer).get_weights(), found[layer], strict=True):
                np.testing.assert_array_equal(own, read)


def test_lists_of_names_in_several_attributes_are_joined(tmp_path):
    path = write(tmp_path / "a.h5", layers=("a", "b", "c"))
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"] = np.array(["a", "b"], "S")
        file.attrs["layer_names1"] = np.array(["c"], "S")
    assert list(read_keras_file(path)) == ["a", "b", "c"]


def test_model_around_the_weights_is_not_built(tmp_path, monkeypatch):
    mark = tmp_path / "executed"
    monkeypatch.setenv("MARK", str(mark))

    def run(x):
        import os
        import pathlib

        pathlib.Path(os.environ["MARK"]).touch()
        return x

    image = keras.Input((None, None, 3))
    shown = keras.layers.Conv2D(4, 1, name="conv")(keras.layers.Lambda(run)(image))
    keras.Model(image, shown).save(tmp_path / "a.h5")
    mark.unlink()  # Keras ran it to build the model.
    assert len(read_keras_file(tmp_path / "a.h5")["conv"]) == 2
    assert not mark.exists()
    keras.models.load_model(tmp_path / "a.h5", safe_mode=False)
    assert mark.exists()  # So Keras would have run it.


def test_keras_archive_is_refused_by_name(tmp_path):
    image = keras.Input((2,))
    keras.Model(image, keras.layers.Dense(1)(image)).save(tmp_path / "a.keras")
    with pytest.raises(InputError, match=r"a\.keras is a whole model, .* allowed: an \.h5 file"):
        initial_weights.look(TrainConfig(weights=str(tmp_path / "a.keras")))
    # Under another name it is a zip file, and no PyTorch file.
    (tmp_path / "a.keras").rename(tmp_path / "a.h5")
    with pytest.raises(InputError, match="is a zip file with 0 data"):
        initial_weights.look(TrainConfig(weights=str(tmp_path / "a.h5")))


def external(folder):
    (folder / "secret").write_bytes(bytes(48))
    return lambda group: group.create_dataset(
        "kernel:0", (12,), "f4", external=[(str(folder / "secret"), 0, 48)]
    )


def virtual(folder):
    layout = h5py.VirtualLayout((1, 1, 3, 4), "f4")
    layout[...] = h5py.VirtualSource(str(write(folder / "other.h5")), "conv/kernel:0", (1, 1, 3, 4))
    return lambda group: group.create_virtual_dataset("kernel:0", layout)


def linked(folder):
    write(folder / "other.h5")

    def link(group):
        group["kernel:0"] = h5py.ExternalLink(str(folder / "other.h5"), "conv/kernel:0")

    return link


def softly_linked(folder):
    def link(group):
        group["kernel:0"] = h5py.SoftLink("/conv/other")
        group["other"] = KERNEL

    return link


@pytest.mark.parametrize(
    ("lead_away", "words"),
    [
        (external, "has its tensor 'kernel:0' in another file"),
        (virtual, "has its tensor 'kernel:0' in another file"),
        (linked, "has no 'kernel:0' of its own"),
        (softly_linked, "has no 'kernel:0' of its own"),
    ],
)
def test_tensors_in_other_files_are_refused(lead_away, words, tmp_path):
    path = write(tmp_path / "a.h5", lead_away(tmp_path))
    with h5py.File(path) as file:
        assert file["conv/kernel:0"][()].size == 12  # So h5py would have read it.
    assert_refused(path, words)


def dataset(*args, **kwargs):
    """Returns what puts one dataset into a layer's group."""
    return lambda group: group.create_dataset("kernel:0", *args, **kwargs)


MADE = {
    "has tensors that promise": lambda p: write(p, dataset((2**40,), "f4")),
    "has two layers 'conv'": lambda p: write(p, layers=("conv",) * 2),
    "has tensors that promise more bytes": lambda p: write(p, weights=("kernel:0",) * 900),
    "has a tensor 'kernel:0' of type object": lambda p: write(p, dataset(data="a")),
    "has 'kernel:0' as something": lambda p: write(p, lambda g: g.create_group("kernel:0")),
    "has no '../conv/kernel:0' of its own": lambda p: write(p, weights=("../conv/kernel:0",)),
    "has no '/conv/kernel:0' of its own": lambda p: write(p, weights=("/conv/kernel:0",)),
    "has no 'kernel:0' of its own": lambda p: write(p, lambda g: None),
    "has no layer_names": lambda p: h5py.File(p, "w").close(),
    r"is no Keras \.h5 file": lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(999)),
    r"is no Keras \.h5 file, or is damaged \(FileNotFoundError\)": lambda p: None,
}


@pytest.mark.parametrize("words", MADE)
def test_what_keras_does_not_write_is_refused(words, tmp_path):
    MADE[words](tmp_path / "a.h5")
    assert_refused(tmp_path / "a.h5", words)


def test_bomb_is_refused(tmp_path):
    def bomb(group):
        group.create_dataset("kernel:0", data=np.zeros(2**24, "f4"), compression="gzip")

    path = write(tmp_path / "a.h5", bomb)
    assert path.stat().st_size < 200_000
    assert_refused(path, "has tensors that promise more bytes than the file has")


def test_values_that_are_no_numbers_are_refused(tmp_path):
    image = keras.Input((None, None, 3))
    network = keras.Model(image, keras.layers.Conv2D(2, 1, name="conv")(image), name="tiny")
    network.get_layer("conv").set_weights([np.full((1, 1, 3, 2), np.nan), np.zeros(2)])
    network.save_weights(tmp_path / "a.h5")
    segmenter = keras.Model(image, network(image))
    with pytest.raises(InputError, match=r"cannot load --weights .*conv has values that are no"):
        pretrained.load_weights(segmenter, "tiny", str(tmp_path / "a.h5"))


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("while True: pass", "takes more than 2 seconds to read"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "its reader ended with code -11",
        ),
        ("bytearray(2**40)", "its reader ended with code 1"),
    ],
)
def test_reader_that_loops_or_dies_is_told(program, words, tmp_path, monkeypatch):
    (tmp_path / "reader.py").write_text(program)
    monkeypatch.setattr(keras_file, "_SECONDS", 2)
    monkeypatch.setattr(keras_file, "_ROOT", tmp_path)
    monkeypatch.setattr(keras_reader, "__name__", "reader")
    (tmp_path / "a.h5").touch()
    assert_refused(tmp_path / "a.h5", f".*{words}")


def limited(program):
    """Runs a program under the limits of a reader of an empty file; returns how it ended."""
    source = f"from tf_advseg.models.keras_reader import limit; limit(0); {program}"
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_reader_is_limited(monkeypatch):
    code, error = limited("bytearray(2**32)")
    assert code == 1 and "MemoryError" in error
    read = "import resource; print(resource.getrlimit(resource.RLIMIT_CPU), file=sys.stderr)"
    assert limited(f"import sys; {read}") == (0, "(100, 100)\n")


def test_damaged_files_end_within_the_limits(tmp_path):
    path = write(tmp_path / "a.h5", layers=[f"layer{i}" for i in range(9)])
    command = [sys.executable, "-m", damage_keras_files, path, tmp_path, "0", "60", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ends = ast.literal_eval(done.stdout)
    assert sum(ends.values()) == 60
    # Read, refused, or stopped by the system; never an error that nobody thought of.
    assert ends[0] > 5 and ends[keras_reader.REFUSED] > 5
    assert all(code in (0, keras_reader.REFUSED) or code < 0 for code in ends)
