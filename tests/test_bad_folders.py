"""Run folders, exports and image folders that are wrong: exit code 2, and one line that says so."""

import functools
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.folders import make_voc_folder
from tests.runs import TINY, copy_of, fails_with, shared_run
from tf_advseg import saved_run


@pytest.fixture
def fails(capsys):
    """As `tests.runs.fails_with`."""
    return functools.partial(fails_with, capsys)


@pytest.fixture(scope="module")
def load_run():
    """As `saved_run.load_run`, which keeps what it has loaded."""
    return functools.cache(saved_run.load_run)


@pytest.fixture
def load_once(monkeypatch, load_run):
    """Keeps loaded runs, for tests of what follows: building the networks takes seconds."""
    monkeypatch.setattr(saved_run, "load_run", load_run)


def test_run_dir_that_cannot_be_made(tmp_path, fails):
    file = tmp_path / "file"
    file.write_text("in the way")
    data = ("--dataset", "folder", "--data_dir", shared_run().data_dir)
    flags = (*data, *TINY, "--method", "baseline", "--steps", "1")
    fails("train", *flags, "--run_dir", file, says=str(file))
    below = file / "run"
    fails("train", *flags, "--run_dir", below, says=("--run_dir", str(below)))


def test_wrong_paths_for_a_run(tmp_path, fails, load_once):
    run = shared_run()
    copied = copy_of(run, tmp_path / "run")
    (tmp_path / "file").write_text("in the way")
    below = tmp_path / "file" / "out"
    of_run = ("--run_dir", copied)
    fails("evaluate", *of_run, "--split", "test", says="test.txt")
    fails("evaluate", *of_run, "--data_dir", tmp_path / "gone", says=str(tmp_path / "gone"))
    fails("evaluate", *of_run, "--save_masks", below, says=("--save_masks", str(below)))
    fails("export", *of_run, "--output", below, says=("--output", str(below)))
    other = make_voc_folder(tmp_path / "other", num_classes=4)
    fails("evaluate", *of_run, "--data_dir", other, says=("class3", str(other)))
    (copied / "evaluation").write_text("in the way")
    fails("evaluate", *of_run, says=str(copied / "evaluation"))


def test_run_without_checkpoint(tmp_path, fails):
    copied = copy_of(shared_run(), tmp_path / "run")
    of_run = ("--run_dir", copied)
    fails("evaluate", *of_run, "--checkpoint", "step-3", says="step-3")
    shutil.rmtree(copied / "checkpoints")
    fails("evaluate", *of_run, says=str(copied / "checkpoints"))
    fails("export", *of_run, "--output", tmp_path / "out", says=str(copied / "checkpoints"))


def test_checkpoint_that_does_not_fit(tmp_path, fails):
    copied = copy_of(shared_run(), tmp_path / "run")
    document = json.loads((copied / "classes.json").read_text())
    document["classes"].append({"name": "more", "color": [1, 2, 3]})
    (copied / "classes.json").write_text(json.dumps(document))
    flags = ("--run_dir", copied, "--output", tmp_path / "export")
    fails("export", *flags, says=("cannot load the checkpoint", "step-40"))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [("steps", "many", "--steps"), ("unknown", 1, "unknown"), (None, None, "config.json")],
)
def test_damaged_config_of_a_run(tmp_path, fails, key, value, says):
    copied = copy_of(shared_run(), tmp_path / "run")
    config = json.loads((copied / "config.json").read_text())
    text = json.dumps(config | {key: value}) if key else "{"
    (copied / "config.json").write_text(text)
    fails("evaluate", "--run_dir", copied, says=says)


def test_wrong_image_folders(tmp_path, fails, load_once):
    run, images = shared_run(), tmp_path / "images"
    images.mkdir()
    flags = ("--run_dir", run.folder, "--images", images, "--save_masks", tmp_path / "masks")
    fails("evaluate", *flags[:4], says="--save_masks")
    fails("evaluate", *flags, says=(str(images), ".png"))
    shutil.copy(run.data_dir / "JPEGImages" / "val_0.jpg", images / "a.jpg")
    whole = (images / "a.jpg").read_bytes()
    (images / "b.jpg").write_bytes(whole[:400])
    fails("evaluate", *flags, says=("b.jpg", "cut off"))
    (images / "b.jpg").write_text("no picture")
    fails("evaluate", *flags, says="b.jpg")
    Image.open(images / "a.jpg").save(images / "b.jpg", "WEBP")
    fails("evaluate", *flags, says=("b.jpg", "WEBP"))
    (images / "b.jpg").unlink()
    (images / "a.JPEG").write_bytes(whole)
    fails("evaluate", *flags, says=("two images", "'a'"))


def test_saved_model_that_is_none(tmp_path, fails):
    flags = ("--saved_model", tmp_path, "--images", shared_run().data_dir / "JPEGImages")
    masks = ("--save_masks", tmp_path / "masks")
    fails("evaluate", *flags, *masks, says=("--saved_model", str(tmp_path)))
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    fails("evaluate", *flags, *masks, says=("--saved_model", str(tmp_path)))
    fails("evaluate", *flags, *masks, "--flip", says=("--saved_model", "--flip"))


@pytest.mark.parametrize("folder", ["JPEGImages", "SegmentationClass"])
def test_masks_never_overwrite_images_or_labels(tmp_path, fails, load_once, folder):
    run = shared_run()
    data = Path(shutil.copytree(run.data_dir, tmp_path / "data"))
    before = {path: path.read_bytes() for path in data.rglob("*.*")}
    flags = ("--run_dir", run.folder, "--data_dir", data, "--save_masks", data / folder)
    fails("evaluate", *flags, says=("--save_masks", folder))
    flags = ("--run_dir", run.folder, "--images", data / "JPEGImages")
    fails("evaluate", *flags, "--save_masks", data / folder, says=("--save_masks", folder))
    assert {path: path.read_bytes() for path in data.rglob("*.*")} == before


def test_start_that_fails_leaves_a_folder_that_can_be_used(tmp_path, fails):
    run_dir, weights = tmp_path / "run", tmp_path / "weights.h5"
    weights.write_bytes(b"none")
    data = ("--dataset", "folder", "--data_dir", shared_run().data_dir, "--method", "baseline")
    flags = ("train", *data, "--run_dir", run_dir)
    fails(*flags, "--weights", weights, says=("--weights", "weights.h5"))
    assert list(run_dir.iterdir()) == []
