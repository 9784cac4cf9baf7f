"""Files that change while they are read: the error names the file, in training and validation."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.folders import numbered_pairs
from tests.made_jpegs import jpeg_of_scans
from tests.runs import TINY, call, one_line
from tf_advseg.data.images import decode_all, image_size
from tf_advseg.data.pipeline import Views, evaluation_dataset, random_crop_dataset
from tf_advseg.data.scans import MAX_SCANS
from tf_advseg.data.unreadable import naming_unreadable
from tf_advseg.errors import InputError
from tf_advseg.training import divergence


def test_unreadable_image_is_named(tmp_path):
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.png"
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    Image.fromarray(noise).save(good)
    Image.fromarray(noise).save(bad)
    content = bytearray(bad.read_bytes())
    content[80:90] = bytes(10)
    bad.write_bytes(content)
    with (
        pytest.raises(InputError, match=r"bad\.png is damaged or cut off"),
        naming_unreadable([good, bad]),
    ):
        list(evaluation_dataset([good, bad], ()))
    gone = tmp_path / "gone.png"
    with pytest.raises(InputError, match=r"read .*gone\.png: No such"), naming_unreadable([gone]):
        list(evaluation_dataset([gone], ()))


def test_jpeg_of_too_many_scans_is_told_as_that(tmp_path):
    """It ends as it should, so that only decoding it finds that out."""
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(good)
    bad.write_bytes(jpeg_of_scans(MAX_SCANS + 1))
    assert image_size(bad) == (64, 64)
    says = f"{bad} is a JPEG of 501 scans; allowed: 500"
    with pytest.raises(InputError) as caught, naming_unreadable([good, bad]):
        list(evaluation_dataset([good, bad], ()))
    assert str(caught.value) == says
    with pytest.raises(InputError) as caught:
        decode_all(bad)  # As `prepare check` does.
    assert str(caught.value) == says


def test_error_that_no_image_causes_stays_as_it_is(tmp_path):
    path = tmp_path / "good.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    with pytest.raises(tf.errors.InvalidArgumentError), naming_unreadable([path]):
        raise tf.errors.InvalidArgumentError(None, None, "another cause")


def cut_off(path):
    path.write_bytes(path.read_bytes()[:60])


def remove(path):
    path.unlink()


def replace(path):
    path.unlink()
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(path)


def make_a_folder(path):
    path.unlink()
    path.mkdir()


@contextlib.contextmanager
def blamed(says):
    with pytest.raises(InputError) as caught:
        yield
    for word in says:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "part", "says"),
    [
        (cut_off, 0, ("1_image.png is damaged or cut off",)),
        (make_a_folder, 0, ("cannot read ", "1_image.png: Is a directory")),
        *((d, 1, ("1_label.png of", "1_image.png cannot be read")) for d in (cut_off, remove)),
        (replace, 0, ("1_image.png is 8x9, but its label was 8x8",)),
    ],
)
@pytest.mark.parametrize("crops", [False, True], ids=["whole", "crops"])
def test_file_that_changed_after_the_checks_is_named(tmp_path, crops, damage, part, says):
    pairs = numbered_pairs(tmp_path, 3)
    images, labels = zip(*pairs)
    damage(pairs[1][part])
    dataset = evaluation_dataset(images, labels)
    if crops:
        dataset = random_crop_dataset(images, labels, Views((8, 8)), seed=0)
    with blamed(says), naming_unreadable([*images, tmp_path / "never_read.png"], labels):
        list(dataset)


@pytest.mark.parametrize(
    ("damaged", "says", "validates"),
    [
        ("cache/labels/*", ("/cache/labels/", "cannot be read"), 40),
        pytest.param(
            "data/JPEGImages/val_*", ("/val_0.jpg", "No such file"), 3, marks=pytest.mark.slow
        ),
    ],
)
def test_run_whose_files_go_missing_ends_after_a_checkpoint(
    voc_folder, tmp_path, capsys, monkeypatch, damaged, says, validates
):
    look = divergence.StopAtNaN.on_step
    taken = []

    def damage(self, step, logs):
        taken.append(step)
        if step == 2:
            for path in tmp_path.glob(damaged):
                path.unlink()
        look(self, step, logs)

    monkeypatch.setattr(divergence.StopAtNaN, "on_step", damage)
    data, run_dir = voc_folder("data", train=2, val=1), tmp_path / "run"
    flags = ("--dataset", "folder", "--data_dir", data, "--method", "baseline", *TINY)
    # More steps than batches that are read ahead.
    more = ("--steps", "40", "--eval_every", validates, "--checkpoint_every", "2")
    assert call("train", *flags, *more, "--run_dir", run_dir) == 2
    one_line(capsys.readouterr().err, says)
    saved = [int(path.stem[5:]) for path in run_dir.glob("checkpoints/step-*.index")]
    assert max(saved) >= 2
    assert set(saved) <= set(taken)
