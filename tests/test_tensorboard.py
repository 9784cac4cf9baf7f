"""What a run writes for TensorBoard, read back from its event files."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.folders import COLORS, VOID
from tests.runs import STEPS, shared_run
from tf_advseg.evaluation.pictures import VOID_COLOR
from tf_advseg.saved_run import load_run

WINDOW = 20  # Steps in a point of the training curves.
LOSSES = ("cross_entropy", "adversarial_labeled", "adversarial_unlabeled", "semi_supervised")


def read_events(folder):
    """Returns {tag: {step: array}} of the one event file in a folder."""
    (file,) = folder.iterdir()
    tags = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            tags.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return tags


@pytest.fixture(scope="module")
def run():
    return shared_run()


@pytest.fixture(scope="module")
def train(run):
    return read_events(run.folder / "tensorboard" / "train")


@pytest.fixture(scope="module")
def validation(run):
    return read_events(run.folder / "tensorboard" / "validation")


def test_training_curves_and_their_steps(train):
    curves = {f"loss/{name}" for name in ("total", *LOSSES)} | {
        "discriminator/loss",
        "discriminator/selected_fraction",
        "learning_rate/segmenter",
        "learning_rate/discriminator",
    }
    # Throughput is that of a whole window, and the first one holds the tracing.
    assert set(train) == curves | {"throughput/images_per_second", "config"}
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
    selected = train["discriminator/selected_fraction"][STEPS]
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


def test_config_is_shown_as_a_table(run, train):
    head, line, *rows = train["config"][0].item().decode().splitlines()
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
    }.items():
        assert list(validation[tag]) == [20, 40], tag
        assert validation[tag][STEPS] == pytest.approx(results[key], rel=1e-6), tag
    for name, iou in results["per_class_iou"].items():
        assert validation[f"iou/{name}"][STEPS] == pytest.approx(iou, rel=1e-6)
    best = max(float(value) for value in validation["validation/mean_iou"].values())
    assert results["best_mean_iou"] == pytest.approx(best, rel=1e-6)


def test_selection_is_what_the_networks_say(run, validation):
    saved = load_run(run.folder, "last")
    selected, right, count = 0, 0, 0
    for index in range(3):
        name = f"val_{index}"
        image = np.asarray(Image.open(run.data_dir / "JPEGImages" / f"{name}.jpg"))
        label = np.asarray(Image.open(run.data_dir / "SegmentationClass" / f"{name}.png"))
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


def test_strips_show_input_truth_prediction_and_confidence(run, validation):
    tags = [tag for tag in validation if tag.endswith("input, truth, prediction, confidence")]
    assert tags == [
        f"validation/{i}: input, truth, prediction, confidence" for i in range(len(tags))
    ]
    assert len(tags) == 3
    for index, tag in enumerate(tags):
        assert list(validation[tag]) == [20, 40]
        # An image summary is its width, its height and its PNGs.
        width, height, png = validation[tag][STEPS]
        assert (int(width), int(height)) == (4 * 64 + 3 * 4, 48)
        strip = tf.io.decode_png(png).numpy()
        shown, truth, prediction, confidence = (
            strip[:, left : left + 64] for left in range(0, 4 * 68, 68)
        )
        name = f"val_{index}"
        image = np.asarray(Image.open(run.data_dir / "JPEGImages" / f"{name}.jpg"))
        np.testing.assert_array_equal(shown, image)
        label = np.asarray(Image.open(run.data_dir / "SegmentationClass" / f"{name}.png"))
        palette = np.full((256, 3), VOID_COLOR)
        palette[:3] = COLORS[:3]
        np.testing.assert_array_equal(truth, palette[label])
        known = {tuple(color) for color in COLORS[:3]}
        assert {tuple(pixel) for pixel in prediction.reshape(-1, 3).tolist()} <= known
        assert confidence.std() > 0
        assert (strip[:, 64:68] == 255).all()
