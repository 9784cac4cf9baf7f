"""What a run writes for TensorBoard, read back from its event files."""

import re
import resource
import shlex

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.plugins.custom_scalar import layout_pb2
from test_results import HAND_MADE, NAMES
from test_trainer import METHODS
from test_trainer_fit import steps_of, trainer_of

from tests import event_files
from tests.folders import COLORS, VOID
from tests.runs import SHARED, STEPS, shared_run
from tf_advseg import disk
from tf_advseg.data import VOID_COLOR
from tf_advseg.errors import InputError
from tf_advseg.saved_run import load_run
from tf_advseg.training import callbacks, tensorboard
from tf_advseg.training.checkpoints import Checkpoints
from tf_advseg.training.stopwatch import Stopwatch
from tf_advseg.training.window import Window

WINDOW = 20  # Steps in a point of the training curves.
RUNS = ("train", "validation")
JUDGED = ("loss", "confidence_true", "confidence_predicted")
LOSSES = ("cross_entropy", "adversarial_labeled", "adversarial_unlabeled", "semi_supervised")


@pytest.fixture(scope="module")
def run():
    return shared_run()


@pytest.fixture(scope="module")
def train(run):
    return event_files.tensors(run.folder / "tensorboard" / "train")


@pytest.fixture(scope="module")
def validation(run):
    return event_files.tensors(run.folder / "tensorboard" / "validation")


def test_training_curves_and_their_steps(train):
    curves = {f"loss/{name}" for name in ("total", *LOSSES)} | {
        "discriminator/loss",
        "semi_supervised/selected_fraction",
        "discriminator/confidence_true",
        "discriminator/confidence_predicted",
        "learning_rate/segmenter",
        "learning_rate/discriminator",
    }
    # Throughput is that of a whole window, and the first one holds the tracing.
    assert set(train) == curves | {"throughput/images_per_second", "run"}
    for tag in curves:
        assert list(train[tag]) == [WINDOW, STEPS], tag
        assert np.isfinite(list(train[tag].values())).all(), tag
    assert list(train["throughput/images_per_second"]) == [STEPS]
    assert train["throughput/images_per_second"][STEPS] > 0


def test_total_loss_is_the_weighted_sum_from_semi_start_on(run, train):
    config = run.read("config.json")
    assert config["semi_start"] == WINDOW
    for step in (WINDOW, STEPS):
        value = {name: float(train[f"loss/{name}"][step]) for name in ("total", *LOSSES)}
        expected = (
            value["cross_entropy"]
            + config["lambda_adv"] * value["adversarial_labeled"]
            + config["lambda_adv_unlabeled"] * value["adversarial_unlabeled"]
            + config["lambda_semi"] * value["semi_supervised"] * (step > WINDOW)
        )
        assert value["total"] == pytest.approx(expected, rel=1e-5)
    assert train["loss/semi_supervised"][STEPS] > 1e-3  # Or the sum says nothing about it.


def test_last_window_is_in_the_results(run, train):
    results = run.read("results.json")
    assert results["discriminator_loss"] == train["discriminator/loss"][STEPS]
    selected = train["semi_supervised/selected_fraction"][STEPS]
    assert results["train_selected_fraction"] == selected
    assert 0 < selected < 1


def test_learning_rates_are_those_of_the_step_by_the_poly_formula(run, train):
    config = run.read("config.json")
    for step in (WINDOW, STEPS):
        # The formula counts the steps that were taken before this one.
        left = (1 - (step - 1) / STEPS) ** config["poly_power"]
        rates = {"segmenter": "learning_rate", "discriminator": "discriminator_learning_rate"}
        for network, flag in rates.items():
            shown = float(train[f"learning_rate/{network}"][step])
            assert shown == pytest.approx(config[flag] * left, rel=1e-5)


def test_command_and_configuration_are_shown_as_a_text(run, train):
    assert list(train["run"]) == [0]
    card = train["run"][0].item().decode()
    began, command, table = card.split("\n\n")
    assert began == "begun"
    words = shlex.split(command.replace("\\\n", ""))
    assert words[:2] == ["python", "train.py"]
    assert words[2 : 2 + len(SHARED)] == list(SHARED)
    assert words[-2:] == ["--run_dir", str(run.folder)]
    head, line, *rows = table.splitlines()
    assert (head.count("|"), set(line)) == (3, set("|-"))
    shown = dict(row.strip("| ").split(" | ") for row in rows)
    config = run.read("config.json")
    assert list(shown) == list(config)
    expected = {"crop_size": "33,49", "learning_rate": "0.02", "method": "semi", "resume": "false"}
    assert {name: shown[name] for name in expected} == expected
    assert shown["data_dir"] == str(run.data_dir)


def test_validation_curves_and_their_steps(run, validation):
    results = run.read("results.json")
    for tag, key in {
        "validation/mean_iou": "mean_iou",
        "validation/pixel_accuracy": "pixel_accuracy",
        "discriminator/selected_fraction": "selected_fraction",
        "discriminator/selected_accuracy": "selected_accuracy",
        "validation/confidence_auc": "confidence_auc",
        "validation/probability_auc": "probability_auc",
    }.items():
        assert list(validation[tag]) == [20, 40], tag
        assert validation[tag][STEPS] == pytest.approx(results[key], rel=1e-6), tag
    for name, iou in results["per_class_iou"].items():
        assert validation[f"iou/{name}"][STEPS] == pytest.approx(iou, rel=1e-6)
    first, last = (float(validation["validation/mean_iou"][step]) for step in (20, STEPS))
    best = validation["validation/best_mean_iou"]
    assert {step: float(value) for step, value in best.items()} == {
        20: pytest.approx(first),
        STEPS: pytest.approx(max(first, last)),
    }
    assert results["best_mean_iou"] == pytest.approx(max(first, last), rel=1e-6)


def test_both_runs_draw_into_one_chart_what_both_measure(run):
    both = [set(event_files.scalars(run.folder / "tensorboard" / n)) for n in RUNS]
    assert both[0] & both[1] == {"loss/cross_entropy"}


def test_page_of_charts_shows_what_the_run_has(run):
    folder = run.folder / "tensorboard"
    (content,) = event_files.tensors(folder)["custom_scalars__config__"].values()
    layout = layout_pb2.Layout.FromString(content.item())
    curves = set().union(*(event_files.scalars(folder / name) for name in RUNS))
    shown = set()
    for category in layout.category:
        for chart in category.chart:
            for pattern in chart.multiline.tag:
                found = {tag for tag in curves if re.match(pattern, tag)}
                assert found, pattern
                assert not found & shown, pattern
                shown |= found
    assert shown == curves


def test_run_is_one_row_of_the_table_of_settings_with_its_scores(run):
    ((name, session),) = event_files.sessions(run.folder.parent).items()
    assert name == "run/tensorboard"
    assert session["status"] == "SUCCESS"
    config, results = run.read("config.json"), run.read("results.json")
    assert session["hparams"]["t_semi"] == config["t_semi"]
    assert session["hparams"]["precision"] == config["precision"]
    assert session["metrics"] == {
        ("validation", f"validation/{tag}"): pytest.approx(results[key], rel=1e-6)
        for tag, key in {
            "mean_iou": "mean_iou",
            "best_mean_iou": "best_mean_iou",
            "pixel_accuracy": "pixel_accuracy",
        }.items()
    }


def test_profile_is_where_tensorboard_looks_for_it(run):
    folder = run.folder / "tensorboard" / "train" / "plugins" / "profile"
    assert f"profile of the steps 31 to 33 in {folder}; TensorBoard shows it once" in run.stdout
    assert len(list(folder.glob("*/*.xplane.pb"))) == 1
    # It is of one command, and not recorded again by the next.
    assert run.read("config.json")["profile"] is None


def test_cross_entropy_is_what_the_networks_say(run, validation):
    saved = load_run(run.folder, "last")
    losses = []
    for index in range(3):
        image, label = picture_of(run, index)
        logits = saved.segmenter(image[np.newaxis].astype(np.float32))[0].numpy()
        logits = logits.astype(np.float64)
        log_sums = np.log(np.exp(logits).sum(axis=-1))
        known = label != VOID
        losses += (log_sums[known] - logits[known, label[known]]).tolist()
    shown = float(validation["loss/cross_entropy"][STEPS])
    assert shown == pytest.approx(np.mean(losses), rel=1e-4)


def picture_of(run, index):
    """Returns image and label of a validation image."""
    name = f"val_{index}"
    image = np.asarray(Image.open(run.data_dir / "JPEGImages" / f"{name}.jpg"))
    return image, np.asarray(Image.open(run.data_dir / "SegmentationClass" / f"{name}.png"))


def test_selection_is_what_the_networks_say(run, validation):
    saved = load_run(run.folder, "last")
    selected, right, count = 0, 0, 0
    for index in range(3):
        image, label = picture_of(run, index)
        probabilities = tf.nn.softmax(saved.segmenter(image[np.newaxis].astype(np.float32)))
        confidence = tf.sigmoid(saved.discriminator(probabilities))[0, ..., 0].numpy()
        counts = label != VOID
        chosen = counts & (confidence > saved.config.t_semi)
        selected += chosen.sum()
        right += (chosen & (probabilities[0].numpy().argmax(-1) == label)).sum()
        count += counts.sum()
    shown = {
        name: validation[f"discriminator/{name}"][STEPS]
        for name in ("selected_fraction", "selected_accuracy")
    }
    assert shown["selected_fraction"] == pytest.approx(selected / count, abs=1e-3)
    assert shown["selected_accuracy"] == pytest.approx(right / selected, abs=1e-3)


def test_strips_show_the_images_and_their_truth(run, validation):
    tags = [tag for tag in validation if tag.startswith("strip/")]
    assert tags == ["strip/val_0", "strip/val_1", "strip/val_2"]
    for index, tag in enumerate(tags):
        assert list(validation[tag]) == [20, 40]
        # An image summary is its width, its height and its PNGs.
        width, height, png = validation[tag][STEPS]
        strip = tf.io.decode_png(png).numpy()
        assert strip.shape == (int(height), int(width), 3)
        image, label = picture_of(run, index)
        # 64x48 pixels, each as 4x4; the pictures are 12 pixels apart, below a line of captions.
        top = 12 + 24 + 4
        shown, truth = (
            strip[top : top + 4 * 48 : 4, left : left + 4 * 64 : 4] for left in (12, 24 + 4 * 64)
        )
        np.testing.assert_array_equal(shown, image)
        palette = np.full((256, 3), VOID_COLOR)
        palette[:3] = COLORS[:3]
        # But for the numbers of the classes.
        same = (truth == palette[label]).all(axis=-1)
        assert 0.9 < same.mean() < 1


TRAINED = {
    "baseline": set(),
    "adv": {"loss/adversarial_labeled", *(f"discriminator/{n}" for n in JUDGED)},
    "semi": {
        *("loss/adversarial_labeled", "loss/adversarial_unlabeled", "loss/semi_supervised"),
        *("semi_supervised/selected_fraction", *(f"discriminator/{n}" for n in JUDGED)),
    },
}


@pytest.mark.parametrize("method", TRAINED)
def test_curves_of_each_method(tmp_path, method):
    trainer, stopwatch = trainer_of(recipe=METHODS[method]), Stopwatch()
    summaries = tensorboard.TrainSummaries(tmp_path, 2, 4, stopwatch, Window(trainer.metrics))
    steps = callbacks.Steps([callbacks.Timing(stopwatch), summaries])
    trainer.fit(steps_of(range(4)), verbose=0, callbacks=[steps])
    curves = event_files.scalars(tmp_path / "train")
    expected = {"loss/total", "loss/cross_entropy", "learning_rate/segmenter"} | TRAINED[method]
    expected |= {"throughput/images_per_second"}
    if method != "baseline":
        expected |= {"learning_rate/discriminator"}
    assert set(curves) == expected
    assert set(tensorboard.train_tags(trainer)) == expected
    throughput = curves.pop("throughput/images_per_second")
    assert {tuple(curve) for curve in curves.values()} == {(2, 4)}
    assert list(throughput) == [4]


def test_points_of_a_run_resumed_amid_a_window_are_those_of_one_left_alone(tmp_path):
    """Windows of 3 steps, a checkpoint after 4: what was there of the second window counts."""

    def train(name, trainer, window, steps):
        stopwatch = Stopwatch()
        summaries = tensorboard.TrainSummaries(tmp_path / name, 3, 4, stopwatch, window)
        trainer.fit(steps_of(steps), verbose=0, callbacks=[callbacks.Steps([summaries])])

    whole = trainer_of()
    train("whole", whole, Window(whole.metrics), range(7))
    begun = trainer_of()
    checkpoints = Checkpoints(tmp_path, begun)
    train("parts", begun, checkpoints.window, range(4))
    checkpoints.save()
    resumed = trainer_of()
    checkpoints = Checkpoints(tmp_path, resumed)
    assert checkpoints.restore() == 4
    last = checkpoints.window.last_mean("discriminator")
    train("parts", resumed, checkpoints.window, range(4, 7))
    points = [event_files.scalars(tmp_path / name / "train") for name in ("whole", "parts")]
    for of_run in points:
        of_run.pop("throughput/images_per_second", None)
    assert list(points[0]["loss/total"]) == [3, 6]
    assert points[0] == points[1]
    assert last == points[0]["discriminator/loss"][3]
    assert checkpoints.window.last_mean("discriminator") == points[0]["discriminator/loss"][6]


@pytest.mark.parametrize("selects", [False, True])
def test_curves_of_a_validation(tmp_path, selects):
    summaries = tensorboard.ValidationSummaries(tmp_path, NAMES, selects=selects)
    summaries.write(5, HAND_MADE, 0.75, {})
    found = event_files.scalars(tmp_path / "validation")
    expected = {
        "loss/cross_entropy": 20.0 / 20,
        "validation/mean_iou": (6 / 10 + 8 / 10 + 2 / 4) / 3,
        "validation/best_mean_iou": 0.75,
        "validation/pixel_accuracy": 16 / 20,
        "iou/sky": 6 / 10,
        "iou/road": 8 / 10,
        "iou/car": 2 / 4,
    }
    if selects:
        expected["discriminator/selected_fraction"] = 10 / 20
        expected["discriminator/selected_accuracy"] = 9 / 10
        expected["validation/confidence_auc"] = HAND_MADE.confidence.auc
        expected["validation/probability_auc"] = HAND_MADE.probability.auc
    assert found == {tag: {5: pytest.approx(value)} for tag, value in expected.items()}
    # The bus occurs nowhere.
    assert set(tensorboard.validation_tags(NAMES, selects=selects)) == {*expected, "iou/bus"}


def test_validation_that_was_never_the_best_shows_no_best(tmp_path):
    summaries = tensorboard.ValidationSummaries(tmp_path, NAMES, selects=False)
    summaries.write(5, HAND_MADE, None, {})
    assert "validation/best_mean_iou" not in event_files.scalars(tmp_path / "validation")


def test_curves_that_a_full_disk_has_no_room_for_are_told(tmp_path, monkeypatch):
    """TensorFlow does not: it would leave half an event, and TensorBoard stops reading there."""
    summaries = tensorboard.ValidationSummaries(tmp_path, NAMES, selects=False)
    full = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: full)
    with pytest.raises(InputError, match=r"validation has 0.00 GiB left, and the curves will take"):
        summaries.write(5, HAND_MADE, None, {})


def test_curves_that_cannot_be_written_are_told_in_one_line(tmp_path):
    summaries = tensorboard.ValidationSummaries(tmp_path, NAMES, selects=False)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, unlimited[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write the curves .*: File too large;"):
            summaries.write(5, HAND_MADE, None, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
