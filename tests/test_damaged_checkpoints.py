"""Checkpoints that cannot be read, cannot be written, or of which nobody knows: what is done."""

import math
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.test_checkpoints import assert_equal, numbers, state, take_steps, trainer_of
from tests.tiny_networks import tiny_segmenter
from tf_advseg import checkpoint_files, disk
from tf_advseg.errors import InputError
from tf_advseg.saved_run import find_checkpoint
from tf_advseg.training.checkpoints import Checkpoints

DATA, INDEX = "step-2.data-00000-of-00001", "step-2.index"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run folder with checkpoints of the steps 1 and 2; and the states of both."""
    folder, states = tmp_path_factory.mktemp("saved"), {}
    trainer = trainer_of()
    checkpoints = Checkpoints(folder, trainer)
    for step in (1, 2):
        take_steps(trainer, 1)
        checkpoints.save()
        states[step] = state(trainer)
    return folder, states


@pytest.fixture
def run(saved, tmp_path):
    """A copy of that folder, and the states."""
    return shutil.copytree(saved[0], tmp_path / "run"), saved[1]


@pytest.fixture(scope="module")
def other():
    """A trainer that checkpoints are restored into, one after the other."""
    return trainer_of(seed=50)


def change(path, damage):
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)


def flip(position):
    def damage(content):
        content[int(position * len(content))] ^= 1

    return damage


def cut(content):
    del content[len(content) // 2 :]


DAMAGES = {
    "data cut off": (DATA, cut),
    "data empty": (DATA, bytearray.clear),
    "index cut off": (INDEX, cut),
    "index empty": (INDEX, bytearray.clear),
    "index garbage": (INDEX, flip(0.3)),
    **{f"a bit at {part}": (DATA, flip(part)) for part in (0.0, 0.15, 0.4, 0.65, 0.9)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_before_a_damaged_checkpoint_is_taken_and_told(run, other, capsys, damage):
    folder, states = run
    name, how = DAMAGES[damage]
    change(folder / "checkpoints" / name, how)
    assert Checkpoints(folder, other).restore() == 1
    assert_equal(state(other), states[1])
    (line,) = capsys.readouterr().err.splitlines()
    path = folder / "checkpoints" / "step-2"
    assert line.startswith(f"warning: cannot load the checkpoint {path}: ")
    assert line.endswith("; the one before it is taken")


@pytest.mark.parametrize("kind", ["of other networks", "of another step", "without data"])
def test_one_before_a_foreign_checkpoint_is_taken(run, other, capsys, kind):
    folder, states = run
    checkpoints = folder / "checkpoints"
    if kind == "of other networks":
        step = tf.Variable(2, dtype=tf.int64)
        foreign = tf.train.Checkpoint(segmenter=tiny_segmenter(classes=5), step=step)
        checkpoint_files.write(foreign, checkpoints, 2)
    elif kind == "of another step":
        for path in checkpoints.glob("step-1.*"):
            shutil.copy(path, checkpoints / path.name.replace("step-1", "step-2"))
    else:
        (checkpoints / DATA).unlink()
    assert Checkpoints(folder, other).restore() == 1
    assert_equal(state(other), states[1])
    assert "step-2: " in capsys.readouterr().err


def test_damaged_checkpoint_is_gone_once_there_is_a_newer_one(run, other):
    folder, _ = run
    change(folder / "checkpoints" / DATA, cut)
    checkpoints = Checkpoints(folder, other)
    checkpoints.restore()
    assert numbers(folder / "checkpoints") == [1, 2]
    take_steps(other, 1)
    checkpoints.save()
    resumed = trainer_of(seed=60)
    assert Checkpoints(folder, resumed).restore() == 2
    assert_equal(state(resumed), state(other))


def test_nothing_is_touched_where_none_can_be_read(run, other):
    folder, _ = run
    for path in (folder / "checkpoints").glob("step-*.data*"):
        change(path, cut)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"cannot load the checkpoint .*step-2: .*nor one before"):
        Checkpoints(folder, other).restore()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00garbage", b'model_checkpoint_path: "x"'])
def test_checkpoints_are_found_whatever_became_of_the_list_of_them(run, other, content, capsys):
    folder, states = run
    listed = folder / "checkpoints" / "checkpoint"
    listed.unlink()
    if content is not None:
        listed.write_bytes(content)
    assert find_checkpoint(folder, "last") == str(folder / "checkpoints" / "step-2")
    assert Checkpoints(folder, other).restore() == 2
    assert_equal(state(other), states[2])
    assert not capsys.readouterr().err
    # For TensorFlow's own tools it is as it was.
    latest = tf.train.latest_checkpoint(str(folder / "checkpoints"))
    assert latest == str(folder / "checkpoints" / "step-2")


def test_checkpoint_that_was_never_finished_is_none(run, other, capsys):
    """The index comes last; what is beside the checkpoints is removed."""
    folder, states = run
    checkpoints = folder / "checkpoints"
    (checkpoints / ".unfinished-x").mkdir()
    (checkpoints / ".unfinished-x" / "step-3.index").write_bytes(b"half")
    (checkpoints / INDEX).unlink()
    assert Checkpoints(folder, other).restore() == 1
    assert_equal(state(other), states[1])
    assert not capsys.readouterr().err
    left = ("checkpoint", *(name.replace("step-2", "step-1") for name in (DATA, INDEX)))
    assert {path.name for path in checkpoints.iterdir()} == set(left)


def test_checkpoint_that_is_half_moved_in_is_none(run, monkeypatch):
    folder, _ = run
    trainer = trainer_of()
    checkpoints = Checkpoints(folder, trainer)
    checkpoints.restore()
    take_steps(trainer, 1)
    rename, renamed = Path.rename, []

    def one_alone(path, target):
        if renamed:
            raise OSError(5, "Input/output error")
        renamed.append(rename(path, target))

    monkeypatch.setattr(Path, "rename", one_alone)
    with pytest.raises(InputError, match=r"step-3: .*Input/output error"):
        checkpoints.save()
    assert len(renamed) == 1
    assert numbers(folder / "checkpoints") == [1, 2]


@pytest.mark.parametrize("when", ["writing", "moving"])
def test_failure_amid_writing_leaves_the_checkpoints_before_it(run, monkeypatch, when):
    folder, states = run
    trainer = trainer_of()
    checkpoints = Checkpoints(folder, trainer)
    checkpoints.restore()
    take_steps(trainer, 1)
    if when == "writing":
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, unlimited[1]))
    else:

        def full(path):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(disk, "sync", full)
    try:
        with pytest.raises(InputError, match=r"cannot write the checkpoint .*step-3: ") as caught:
            checkpoints.save()
    finally:
        if when == "writing":
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        monkeypatch.undo()
    reason = {"writing": ": File too large;", "moving": "No space left on device;"}[when]
    assert reason in str(caught.value)
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        *("checkpoint", DATA, INDEX),
        *(name.replace("step-2", "step-1") for name in (DATA, INDEX)),
    }
    resumed = trainer_of(seed=50)
    assert Checkpoints(folder, resumed).restore() == 2
    assert_equal(state(resumed), states[2])


def test_checkpoint_of_before_the_curves_windows_is_restored(tmp_path, other):
    trainer = trainer_of()
    take_steps(trainer, 1)
    older = tf.train.Checkpoint(
        segmenter=trainer.segmenter,
        optimizer=trainer.optimizer,
        step=trainer.step,
        best_mean_iou=tf.Variable(0.25, dtype=tf.float64),
        seconds=tf.Variable(7.0, dtype=tf.float64),
        discriminator=trainer.discriminator,
        discriminator_optimizer=trainer.discriminator_optimizer,
    )
    folder = str(tmp_path / "checkpoints")
    tf.train.CheckpointManager(older, folder, 3, checkpoint_name="step").save(checkpoint_number=1)
    checkpoints = Checkpoints(tmp_path, other)
    assert (checkpoints.restore(), checkpoints.best()) == (1, 0.25)
    assert_equal(state(other), state(trainer))
    assert math.isnan(checkpoints.window.last_mean("loss"))


def test_room_is_asked_for_all_that_will_be_kept(tmp_path, monkeypatch):
    """Three last ones, two best, and one that is being written; but not again for what is there."""
    trainer, free = trainer_of(), {}
    checkpoints = Checkpoints(tmp_path, trainer)
    usage = type("Usage", (), {"free": property(lambda self: free["bytes"])})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage())
    held = [v for n in (trainer.segmenter, trainer.discriminator) for v in n.weights]
    held += [v for o in (trainer.optimizer, trainer.discriminator_optimizer) for v in o.variables]
    needed = 6 * sum(np.asarray(v).nbytes for v in held)
    free["bytes"] = needed - 1
    with pytest.raises(InputError, match=rf"{tmp_path} has 0.00 GiB left, and its checkpoints"):
        checkpoints.require_room()
    free["bytes"] = needed
    checkpoints.require_room()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-1.index").write_bytes(bytes(100))
    free["bytes"] = needed - 100
    checkpoints.require_room()
    free["bytes"] = needed - 101
    with pytest.raises(InputError):
        checkpoints.require_room()
