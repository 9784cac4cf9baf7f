"""The three scripts, from a data folder to scores, masks and an export."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.folders import COLORS, VOID, make_voc_folder
from tests.report_pages import read_markdown, read_page
from tests.runs import STEPS, TINY, call, copy_of, script, shared_run
from tf_advseg.train_options import TrainConfig

#: What every results.json must hold, whatever else it does.
CONTRACT_KEYS = {
    *("mean_iou", "best_mean_iou", "pixel_accuracy", "per_class_iou", "steps"),
    *("images_per_second", "peak_memory_bytes", "selected_fraction", "method", "dataset", "seed"),
    *("labeled_images", "unlabeled_images"),
}
CLASSES = ("class0", "class1", "class2")


@pytest.fixture(scope="module")
def run():
    return shared_run()


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the shared run's folder, to evaluate into."""
    return copy_of(run, tmp_path / "run")


def evaluate(run_dir, *flags):
    """Evaluates in this process and returns the results."""
    assert call("evaluate", "--run_dir", run_dir, *flags) == 0
    return json.loads((run_dir / "evaluation" / "results.json").read_text("utf-8"))


def scores(values):
    """The part of a results.json that is measured on the images, as one flat dict."""
    names = ("mean_iou", "pixel_accuracy", "selected_fraction")
    return {name: values[name] for name in names} | values["per_class_iou"]


def near(expected):
    """Scores of the same predictions but for rounding: a few pixels of 9216 may differ."""
    return pytest.approx(expected, abs=1e-3)


def indices(path):
    """The pixels of an indexed picture, as they are in the file."""
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.asarray(picture)


# The run folder


def test_run_folder_holds_what_the_layout_says(run):
    names = {path.name for path in run.folder.iterdir()}
    assert names >= {"config.json", "split.json", "checkpoints", "tensorboard", "results.json"}
    checkpoints = run.folder / "checkpoints"
    assert f'model_checkpoint_path: "step-{STEPS}"' in (checkpoints / "checkpoint").read_text()
    assert (checkpoints / f"step-{STEPS}.index").is_file()
    assert (checkpoints / "best" / "checkpoint").is_file()
    assert f"results in {run.folder / 'results.json'}" in run.stdout


def test_config_holds_every_setting_resolved(run):
    config = run.read("config.json")
    assert set(config) == {field.name for field in dataclasses.fields(TrainConfig)}
    expected = {
        "method": "semi",
        "preset": "default",
        "crop_size": [33, 49],
        "steps": STEPS,
        "checkpoint_every": 20,
        "precision": "float32",
        "data_dir": str(run.data_dir),
        "resume": False,
    }
    assert {name: config[name] for name in expected} == expected


def test_split_is_the_fraction_of_the_list(run):
    split = run.read("split.json")
    labeled, unlabeled = set(split["labeled"]), set(split["unlabeled"])
    assert len(split["labeled"]) == len(labeled) == int(0.7 * 7) == 4
    assert not labeled & unlabeled
    assert labeled | unlabeled == {f"train_{i}" for i in range(7)}


def test_results_have_every_key_and_sensible_values(run):
    results = run.read("results.json")
    assert set(results) >= CONTRACT_KEYS
    for name in ("mean_iou", "best_mean_iou", "pixel_accuracy", "selected_fraction"):
        assert 0 < results[name] < 1
    assert results["best_mean_iou"] >= results["mean_iou"] > 0
    assert tuple(results["per_class_iou"]) == CLASSES
    mean = np.mean([iou for iou in results["per_class_iou"].values() if iou is not None])
    assert results["mean_iou"] == pytest.approx(mean)
    assert results["images_per_second"] > 0
    assert 1e8 < results["peak_memory_bytes"] < 1e11
    facts = ("method", "dataset", "seed", "steps", "labeled_images", "unlabeled_images")
    assert [results[name] for name in facts] == ["semi", "streets", 3, STEPS, 4, 3]


@pytest.mark.parametrize(
    ("method", "precision"),
    [
        ("adv", "mixed_bfloat16"),
        pytest.param("baseline", "mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_methods_train_on_full_data_in_every_precision(tmp_path, method, precision, capsys):
    data_dir = make_voc_folder(tmp_path / "voc", train=3, val=1)
    flags = ("--dataset", "folder", "--data_dir", data_dir, "--method", method, *TINY)
    run_dir = tmp_path / "run"
    steps = ("--steps", "3", "--eval_every", "2", "--precision", precision)
    assert call("train", *flags, *steps, "--run_dir", run_dir) == 0
    assert "step 2: validation" in capsys.readouterr().out
    results = json.loads((run_dir / "results.json").read_text("utf-8"))
    assert set(results) >= CONTRACT_KEYS
    assert (results["method"], results["steps"]) == (method, 3)
    assert (results["labeled_images"], results["unlabeled_images"]) == (3, 0)
    assert math.isfinite(results["mean_iou"])
    for name in ("selected_fraction", "selection", "confidence_auc"):
        assert (results[name] is None) == (method == "baseline")
    assert 0 <= results["probability_auc"] <= 1
    # The run is read back in float32: its networks are rebuilt.
    assert evaluate(run_dir)["steps"] == 3
    has_none = "The run has no discriminator" in reports(run_dir)[1]
    assert has_none == (method == "baseline")


def test_semi_is_refused_without_unlabeled_images(run, tmp_path, capsys):
    flags = ("--dataset", "folder", "--data_dir", run.data_dir, "--method", "semi")
    assert call("train", *flags, "--run_dir", tmp_path / "run") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: --method semi needs unlabeled images")
    assert not (tmp_path / "run").exists()


# Evaluation


def test_evaluation_agrees_with_training_and_with_numpy(run, copied, tmp_path):
    masks = tmp_path / "masks"
    done = script("evaluate", "--run_dir", copied, "--save_masks", masks)
    assert done.returncode == 0, done.stderr
    for name in (*CLASSES, "mean IoU", "pixel accuracy"):
        assert any(line.startswith(name) for line in done.stdout.splitlines())
    evaluated = json.loads((copied / "evaluation" / "results.json").read_text("utf-8"))
    trained = run.read("results.json")
    assert set(evaluated) == set(trained)
    # Rounding differs: batch norm is folded into the kernels only after training.
    for name in set(trained) - {"images_per_second", "selection", "per_class_iou"}:
        assert evaluated[name] == pytest.approx(trained[name], abs=1e-4), name
    assert evaluated["per_class_iou"] == pytest.approx(trained["per_class_iou"], abs=1e-4)
    for own, other in zip(evaluated["selection"], trained["selection"], strict=True):
        assert own == pytest.approx(other, abs=1e-4)
    rows = {row["t_semi"]: row for row in evaluated["selection"]}
    assert list(rows) == [0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert rows[0.45]["fraction"] == evaluated["selected_fraction"]
    assert rows[0.45]["accuracy"] == evaluated["selected_accuracy"]
    for name in ("confidence_auc", "probability_auc"):
        assert 0 < evaluated[name] < 1
        assert f"{evaluated[name]:.4f}" in done.stdout

    assert sorted(path.name for path in masks.iterdir()) == [f"val_{i}.png" for i in range(3)]
    pairs = [
        (indices(run.data_dir / "SegmentationClass" / path.name), indices(path))
        for path in masks.iterdir()
    ]
    truth, predicted = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    truth, predicted = truth[truth != VOID], predicted[truth != VOID]
    ious = {}
    for index, name in enumerate(CLASSES):
        union = np.sum((truth == index) | (predicted == index))
        both = np.sum((truth == index) & (predicted == index))
        ious[name] = both / union if union else None
    assert evaluated["per_class_iou"] == ious
    assert evaluated["mean_iou"] == pytest.approx(np.mean([v for v in ious.values() if v]))
    assert evaluated["pixel_accuracy"] == pytest.approx(np.mean(truth == predicted))
    assert f"{100 * evaluated['mean_iou']:.2f}" in done.stdout
    with Image.open(masks / "val_0.png") as mask:
        assert mask.getpalette()[:9] == [value for color in COLORS[:3] for value in color]

    assert f"report in {copied / 'evaluation' / 'report.html'}" in done.stdout
    written = reports(copied)
    check_report(written, evaluated)
    # As many bytes again, and the same.
    assert evaluate(copied)["mean_iou"] == evaluated["mean_iou"]
    assert reports(copied) == written


def reports(run_dir):
    """The texts of the page and of the Markdown."""
    return [(run_dir / "evaluation" / name).read_text() for name in ("report.html", "report.md")]


def check_report(written, values):
    """Checks that the report of the shared run says what its results.json says."""
    page, told = read_page(written[0]), read_markdown(written[1])
    assert len(written[0]) < 3e6
    keys = ("mean_iou", "pixel_accuracy", "best_mean_iou", "selected_fraction", "selected_accuracy")
    shown = [float(node.attributes["value"]) for node in page.by_id("summary").all("data")]
    assert shown == [values[key] for key in keys]
    for name, number, iou, _ in told["class"][1:]:
        assert name == CLASSES[int(number)]
        assert iou == f"{100 * values['per_class_iou'][name]:.2f} %"
    assert {image_id for image_id, _, _ in told["image"][1:]} == {f"val_{i}" for i in range(3)}
    charts = [chart.one("h3").text for chart in page.by_id("training").all("figure")]
    assert charts == [
        *("Cross-entropy", "Mean IoU", "Discriminator loss"),
        *("Pixels in L_semi", "Pixels above T_semi", "The discriminator's confidence"),
    ]
    curves = {row[0]: row[1:5] for row in told["curve"][1:]}
    trained = f"{100 * values['mean_iou']:.2f} %"
    assert curves["Mean IoU, validation"][2:] == [str(STEPS), trained]
    # Each curve that a report looks for is one that training writes.
    assert set(curves) == {
        *("Cross-entropy, training", "Cross-entropy, validation", "Mean IoU, validation"),
        *("Discriminator loss, training", "Pixels in L_semi, training"),
        *("Pixels above T_semi, validation", "The discriminator's confidence, true labels"),
        "The discriminator's confidence, predictions",
    }


def test_run_that_is_not_finished_is_evaluated_with_a_warning(run, copied, capsys):
    (copied / "results.json").unlink()
    evaluated = evaluate(copied)
    assert f"{copied} has not taken its {STEPS} steps yet" in capsys.readouterr().err
    trained = run.read("results.json")
    facts = ("steps", "labeled_images", "unlabeled_images")
    assert [evaluated[name] for name in facts] == [trained[name] for name in facts]
    assert evaluated["best_mean_iou"] is None


def test_best_checkpoint_has_the_best_score(run, copied):
    shutil.rmtree(copied / "tensorboard")
    results = evaluate(copied, "--checkpoint", "best")
    assert "has no folder tensorboard" in reports(copied)[0]
    assert results["mean_iou"] == run.read("results.json")["best_mean_iou"]


@pytest.mark.slow
def test_window_larger_than_the_images_changes_nothing(run, copied):
    results = evaluate(copied, "--sliding_window", "200,300")
    assert scores(results) == near(scores(run.read("results.json")))


def test_scales_windows_and_flip_together_of_a_checkpoint_by_its_path(copied, tmp_path):
    flags = ("--scales", "0.75,1,1.25", "--flip", "--sliding_window", "32,40")
    checkpoint = ("--checkpoint", copied / "checkpoints" / "step-20")
    results = evaluate(copied, *checkpoint, *flags, "--save_masks", tmp_path / "masks")
    assert results["steps"] == 20
    assert 0 < results["mean_iou"] <= 1
    assert indices(tmp_path / "masks" / "val_1.png").shape == (48, 64)


def test_flip_makes_mirrored_images_give_mirrored_masks(run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    with Image.open(run.data_dir / "JPEGImages" / "val_0.jpg") as image:
        image.save(images / "upright.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(images / "mirrored.png")
    flags = ("--images", images, "--save_masks", tmp_path / "masks")
    assert call("evaluate", "--run_dir", run.folder, "--flip", *flags) == 0
    upright, mirrored = (indices(tmp_path / "masks" / f"{n}.png") for n in ("upright", "mirrored"))
    assert len(np.unique(upright)) > 1
    # Equal but for rounding where two classes are as probable.
    assert np.mean(upright == mirrored[:, ::-1]) > 0.999


def test_moved_run_and_moved_data(run, copied, tmp_path, capsys):
    config = json.loads((copied / "config.json").read_text("utf-8"))
    config |= {"data_dir": str(tmp_path / "gone"), "run_dir": str(tmp_path / "gone_too")}
    (copied / "config.json").write_text(json.dumps(config), "utf-8")
    assert call("evaluate", "--run_dir", copied) == 2
    assert str(tmp_path / "gone") in capsys.readouterr().err.splitlines()[-1]
    moved = shutil.copytree(run.data_dir, tmp_path / "moved")
    assert scores(evaluate(copied, "--data_dir", moved)) == scores(run.read("results.json"))


# Any image


ROTATE_CLOCKWISE = 6  # A value of EXIF's orientation.


def write_odd_images(colors, folder):
    """Writes an image of each kind, and beside it what it shows, as NAME_shown.png in plain RGB."""
    grey = colors.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 256 + 77)
    see_through = colors.copy()
    see_through.putalpha(grey)
    for name, image, shown in (
        ("grey", grey, grey),
        ("rgba", see_through, colors),
        ("deep", deep, grey),
        ("palette", colors.quantize(16), colors.quantize(16)),
    ):
        image.save(folder / f"{name}.png")
        shown.convert("RGB").save(folder / f"{name}_shown.png")
    exif = Image.Exif()
    exif[0x0112] = ROTATE_CLOCKWISE
    colors.save(folder / "turned.jpg", exif=exif)
    with Image.open(folder / "turned.jpg") as stored:
        stored.transpose(Image.Transpose.ROTATE_270).save(folder / "turned_shown.png")
    colors.convert("CMYK").save(folder / "cmyk.JPG")


def test_images_of_every_kind_are_segmented_as_shown(run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    with Image.open(run.data_dir / "JPEGImages" / "val_0.jpg") as scene:
        write_odd_images(scene.crop((0, 0, 61, 37)), images)
    flags = ("--images", images, "--save_masks", tmp_path / "masks")
    assert call("evaluate", "--run_dir", run.folder, *flags) == 0
    masks = {path.name: indices(path) for path in (tmp_path / "masks").iterdir()}
    assert set(masks) == {f"{path.stem}.png" for path in images.iterdir()}
    assert not (run.folder / "evaluation").exists()
    assert masks["turned.png"].shape == (61, 37)
    assert masks["cmyk.png"].shape == (37, 61)
    for name in ("rgba", "turned"):  # What is in a scene's own colours, the network knows.
        assert len(np.unique(masks[f"{name}.png"])) > 1
    for name in ("grey", "rgba", "deep", "palette", "turned"):
        np.testing.assert_array_equal(masks[f"{name}.png"], masks[f"{name}_shown.png"], name)


# Export


def test_export_is_numbered_and_scores_as_its_checkpoint(run, copied, tmp_path, capsys):
    output = tmp_path / "exports"
    (output / "1").mkdir(parents=True)
    assert call("export", "--run_dir", copied, "--output", output) == 0
    assert str(output / "2") in capsys.readouterr().out
    assert sorted(path.name for path in output.iterdir()) == ["1", "2"]

    trained, served = run.read("results.json"), evaluate(copied, "--saved_model", output)
    assert scores(served) == near(scores(trained))
    facts = ("method", "dataset", "seed", "steps", "labeled_images", "unlabeled_images")
    assert [served[name] for name in facts] == [trained[name] for name in facts]
    assert f"--saved_model {output}" in reports(copied)[1].replace("\\", "")
