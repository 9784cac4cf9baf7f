"""The published recipes by the scripts: trained, evaluated as each says, exported."""

import functools
import json

import numpy as np
import pytest

from tests.folders import make_voc_folder
from tests.runs import TINY, call
from tf_advseg.presets import PRESETS

#: The challenge's, which differs the most, is enough for the quick tests.
every_recipe = pytest.mark.parametrize(
    "preset",
    ["challenge", *(pytest.param(p, marks=pytest.mark.slow) for p in ("paper", "authors"))],
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data set that has a class named background, as VOC has."""
    folder = make_voc_folder(tmp_path_factory.mktemp("data"), train=6, val=2)
    path = folder / "classes.json"
    path.write_text(path.read_text("utf-8").replace("class0", "background"), "utf-8")
    return folder


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory):
    """runs(preset): a short run, once, with the small network in the place of ResNet-101."""

    @functools.cache
    def train(preset):
        folder = tmp_path_factory.mktemp("runs") / preset
        flags = ("--preset", preset, "--dataset", "folder", "--data_dir", data_dir, *TINY)
        length = ("--steps", "6", "--eval_every", "3", "--semi_start", "0")
        split = ("--labeled_fraction", "0.5", "--weights", "none")
        assert call("train", *flags, *length, *split, "--run_dir", folder) == 0
        return folder

    return train


def read(path):
    return json.loads(path.read_text("utf-8"))


def evaluate(run_dir, *flags):
    assert call("evaluate", "--run_dir", run_dir, *flags) == 0
    return read(run_dir / "evaluation" / "results.json")


@every_recipe
def test_config_shows_every_value_of_the_recipe(preset, runs):
    stored = read(runs(preset) / "config.json")
    changed = {"backbone", "weights", "crop_size", "batch_size", "steps", "semi_start"}
    for name, value in PRESETS[preset].items():
        if name not in changed | {"batch_norm"}:
            assert stored[name] == (list(value) if isinstance(value, tuple) else value)
    assert stored["batch_norm"] == "train"  # For there are no pretrained weights.
    assert stored["backbone_style"] == "keras"
    own = {"paper": "imagenet", "authors": "authors", "challenge": "imagenet"}
    assert stored["normalization"] == own[preset]
    unset = {name for name, value in stored.items() if value is None}
    execution = {"data_service", "steps_per_execution", "profile"}
    assert unset <= execution | {"labeled_list", "eval_size", "selection"}


@every_recipe
def test_recipe_learns_and_shows_its_losses(preset, runs):
    results = read(runs(preset) / "results.json")
    assert results["steps"] == 6
    assert 0 < results["mean_iou"] < 1
    assert np.isfinite(results["discriminator_loss"]) and results["discriminator_loss"] > 0
    assert 0 <= results["train_selected_fraction"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "told"),
    [
        ("authors", "images padded to 505x505; compare"),
        ("challenge", "random crops resized to 321x321, void counted as background; compare"),
    ],
)
def test_evaluation_is_the_recipes_own_and_says_so(preset, told, runs, capsys):
    results = evaluate(runs(preset))
    assert told in capsys.readouterr().out
    if preset == "authors":
        assert results["mean_iou"] == pytest.approx(read(runs(preset) / "results.json")["mean_iou"])
        assert results["steps"] == 6
    assert results["protocol"] == told.removesuffix("; compare")
    plain = ("--eval_protocol", "full", "--void_as_background", "false")
    whole = evaluate(runs(preset), *plain)
    assert "compare with" not in capsys.readouterr().out
    assert whole["mean_iou"] != results["mean_iou"]
    assert whole["protocol"] == "full images"


@pytest.mark.slow
def test_challenge_is_evaluated_at_its_best_checkpoint(runs):
    [best] = (runs("challenge") / "checkpoints" / "best").glob("step-*.index")
    step = int(best.stem.removeprefix("step-"))
    results = evaluate(runs("challenge"))
    assert results["steps"] == step
    trained = read(runs("challenge") / "results.json")
    assert results["mean_iou"] == pytest.approx(trained["best_mean_iou"], abs=1e-6)
    assert evaluate(runs("challenge"), "--checkpoint", "last")["steps"] == 6


@pytest.mark.slow
def test_protocol_without_a_size_is_refused(runs, capsys):
    assert call("evaluate", "--run_dir", runs("paper"), "--eval_protocol", "padded") == 2
    assert "--eval_protocol padded needs --eval_size" in capsys.readouterr().err
    results = evaluate(runs("paper"), "--eval_protocol", "padded", "--eval_size", "70,80")
    assert results["protocol"] == "images padded to 70x80"


def test_masks_of_random_crops_are_refused(runs, tmp_path, capsys):
    code = call("evaluate", "--run_dir", runs("challenge"), "--save_masks", tmp_path / "masks")
    assert code == 2
    assert "--save_masks means nothing for random crops" in capsys.readouterr().err


@pytest.mark.slow
def test_challenge_is_exported_and_evaluated_from_its_export(runs, tmp_path):
    assert call("export", "--run_dir", runs("challenge"), "--output", tmp_path / "export") == 0
    own = evaluate(runs("challenge"), "--eval_protocol", "full")
    exported = evaluate(
        runs("challenge"), "--saved_model", tmp_path / "export", "--eval_protocol", "full"
    )
    for name in ("mean_iou", "selected_fraction", "pixel_accuracy"):
        assert exported[name] == pytest.approx(own[name], abs=1e-3)


def test_void_as_background_without_such_a_class_is_refused(tmp_path, capsys):
    folder = make_voc_folder(tmp_path / "data", train=2, val=1)
    flags = ("--preset", "challenge", "--dataset", "folder", "--data_dir", folder)
    assert call("train", *flags, "--run_dir", tmp_path / "run") == 2
    assert "has no class 'background'; allowed: --void_as_background false" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()
