"""Event files of a run that was killed: what is past its checkpoint is cut off."""

import numpy as np
import pytest
import tensorflow as tf

from tests.event_files import scalars, written
from tf_advseg.training import event_files


def write(folder, steps, picture=None):
    """Writes an event file with loss = 10 * step, as one process of a run does."""
    writer = tf.summary.create_file_writer(str(folder))
    for step in steps:
        with writer.as_default(step=step):
            tf.summary.scalar("loss", 10.0 * step)
            if picture is not None:
                tf.summary.image("strip", picture)
    writer.close()


@pytest.mark.parametrize(("step", "left"), [(40, [20, 40]), (39, [20]), (60, [20, 40, 60])])
def test_steps_past_the_checkpoint_are_removed(tmp_path, step, left):
    picture = np.full((1, 9, 9, 3), 128, np.uint8)
    write(tmp_path, (20, 40, 60), picture)
    event_files.cut(tmp_path, step)
    assert scalars(tmp_path) == {"loss": {at: 10.0 * at for at in left}}
    assert written(tmp_path, "loss") == written(tmp_path, "strip") == len(left)


def test_file_that_is_left_as_it_is_has_its_bytes(tmp_path):
    write(tmp_path, (20, 40))
    (path,) = event_files.paths(tmp_path)
    before = path.read_bytes()
    event_files.cut(tmp_path, 40)
    assert path.read_bytes() == before


def test_each_file_is_cut_and_an_empty_one_removed(tmp_path):
    for steps in ((20, 40), (30, 50), (60, 70)):
        write(tmp_path, steps)
    event_files.cut(tmp_path, 35)
    assert len(event_files.paths(tmp_path)) == 2
    assert written(tmp_path, "loss") == 2
    event_files.cut(tmp_path, 0)
    assert not event_files.paths(tmp_path)


def test_event_that_is_half_written_is_removed_so_that_more_can_follow(tmp_path):
    write(tmp_path, (20, 40))
    (path,) = event_files.paths(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    event_files.cut(tmp_path, 100)
    whole = path.read_bytes()
    event_files.cut(tmp_path, 100)
    assert path.read_bytes() == whole
    assert scalars(tmp_path) == {"loss": {20: 200.0}}


def test_missing_folder_has_nothing_to_cut(tmp_path):
    event_files.cut(tmp_path / "none", 10)
