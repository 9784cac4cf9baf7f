"""What TensorBoard shows of a run beside curves: the page of charts, settings, and its end."""

import dataclasses
import re
import shlex
import subprocess

import pytest
from google.protobuf import json_format
from tensorboard.context import RequestContext
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from test_trainer import METHODS
from test_trainer_fit import trainer_of

from tests import event_files
from tests.runs import AS_PUBLISHED
from tf_advseg.config import train_config
from tf_advseg.errors import InputError
from tf_advseg.training import run_card, tensorboard

NAMES = ("sky", "traffic light (red)")
CONFIG = train_config(
    ["--dataset", "folder", "--data_dir", "streets", "--seed", "7", *AS_PUBLISHED]
)
BASE = {
    "losses": ["cross-entropy", "total"],
    "scores on validation images": ["mean IoU", "pixel accuracy", "IoU by class"],
    "optimizers": ["learning rate of the segmenter", "images per second"],
}
ADVERSARIAL = {
    **BASE,
    "losses": [*BASE["losses"], "adversarial"],
    "scores on validation images": [
        "mean IoU",
        "pixel accuracy",
        "area under ROC, right pixels against wrong",
        "IoU by class",
    ],
    "optimizers": [
        "learning rate of the segmenter",
        "learning rate of the discriminator",
        "images per second",
    ],
}
CONFIDENT = [f"validation pixels above T_semi: {name}" for name in ("fraction", "accuracy")]
JUDGED = ["loss", "confidence in true labels and in predictions", *CONFIDENT]
CHARTS = {
    "baseline": BASE,
    "adv": {**ADVERSARIAL, "discriminator": JUDGED},
    "semi": {
        **ADVERSARIAL,
        "losses": [
            *ADVERSARIAL["losses"],
            "semi-supervised",
            "unlabeled pixels in it: fraction",
        ],
        "discriminator": JUDGED,
    },
}


def tags_of(method, precision="float32"):
    trainer = trainer_of(precision, METHODS[method])
    selects = trainer.discriminator is not None
    return [
        *tensorboard.train_tags(trainer),
        *tensorboard.validation_tags(NAMES, selects=selects),
    ]


def charts(layout):
    return {c.title: [chart.title for chart in c.chart] for c in layout.category}


def patterns(layout):
    return [p for c in layout.category for chart in c.chart for p in chart.multiline.tag]


@pytest.mark.parametrize("method", CHARTS)
def test_page_has_the_charts_of_the_method(method):
    layout = run_card.layout(tags_of(method))
    assert charts(layout) == CHARTS[method]


@pytest.mark.parametrize("method", CHARTS)
def test_page_shows_every_curve_once(method):
    tags = tags_of(method)
    shown = [tag for p in patterns(run_card.layout(tags)) for tag in tags if re.match(p, tag)]
    # What training and validation both have is one tag, and in one chart.
    assert sorted(set(shown)) == sorted(set(tags))
    twice = {tag for tag in tags if tags.count(tag) > 1}
    assert twice == {"loss/cross_entropy"}


def test_page_shows_loss_scales_where_there_are_some():
    layout = run_card.layout(tags_of("semi", "mixed_float16"))
    skipped = "share of steps that loss scaling skips"
    assert charts(layout)["optimizers"][2:] == ["loss scales", skipped, "images per second"]


def test_columns_that_differ_in_a_table_of_runs_come_first(tmp_path):
    with recorded(tmp_path):
        pass
    first = ["backbone", "labeled_fraction", "learning_rate", "method", "seed"]
    assert event_files.columns(tmp_path)[:6] == [*first, "adversarial_loss"]


def recorded(folder, config=CONFIG, method="baseline"):
    return run_card.recorded(folder, config, tags_of(method))


def test_pages_of_runs_of_several_methods_are_merged_without_a_chart_twice(tmp_path):
    for method in CHARTS:
        with recorded(tmp_path / method / "tensorboard", method=method):
            pass
    plugin = CustomScalarsPlugin(event_files.served(tmp_path))
    merged = plugin.layout_impl(RequestContext(), "")
    shown = layout_pb2.Layout()
    json_format.Parse(merged, shown)
    whole = {category: sorted(titles) for category, titles in CHARTS["semi"].items()}
    assert {c: sorted(titles) for c, titles in charts(shown).items()} == whole


def test_session_has_the_settings_and_succeeds(tmp_path):
    with recorded(tmp_path):
        assert event_files.sessions(tmp_path)["."]["status"] == "UNKNOWN"
    (session,) = event_files.sessions(tmp_path).values()
    assert session["status"] == "SUCCESS"
    values = session["hparams"]
    assert values["seed"] == 7.0
    assert values["nesterov"] is True
    assert values["method"] == "semi"
    assert values["crop_size"] == "321,321"
    assert values["discriminator_betas"] == "0.9,0.99"


def test_settings_are_without_paths_and_without_what_is_not_set(tmp_path):
    weights = tmp_path / "folder of weights" / "resnet.pth"
    config = dataclasses.replace(CONFIG, weights=str(weights), data_service="grpc://host:1")
    with recorded(tmp_path / "run", config):
        pass
    (session,) = event_files.sessions(tmp_path / "run").values()
    values = session["hparams"]
    assert values["weights"] == "resnet.pth"
    everything = {field.name for field in dataclasses.fields(config)}
    unset = {name for name in everything if getattr(config, name) is None}
    left_out = {"data_dir", "run_dir", "data_service", "resume", "profile"}
    assert "labeled_list" in unset and "data_dir" not in unset
    assert set(values) == everything - unset - left_out
    assert not [value for value in values.values() if "/" in str(value)]


@pytest.mark.parametrize("error", [FloatingPointError, KeyboardInterrupt])
def test_session_that_ends_in_an_error_has_failed(tmp_path, error):
    with pytest.raises(error), recorded(tmp_path):
        raise error
    (session,) = event_files.sessions(tmp_path).values()
    assert session["status"] == "FAILURE"


def test_first_failure_is_told_where_the_end_cannot_be_written_either(tmp_path, monkeypatch):
    def full(*_):
        raise InputError("no room")

    monkeypatch.setattr(run_card, "_end", full)
    with pytest.raises(FloatingPointError), recorded(tmp_path):
        raise FloatingPointError
    with pytest.raises(InputError, match="no room"), recorded(tmp_path):
        pass


def test_resumed_run_is_one_session_and_ends_as_it_ends_at_last(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(KeyboardInterrupt), recorded(tmp_path):
        raise KeyboardInterrupt
    with recorded(tmp_path, dataclasses.replace(CONFIG, steps=20000)):
        pass
    assert event_files.written(tmp_path, "_hparams_/session_start_info") == 1
    (session,) = event_files.sessions(tmp_path).values()
    assert session["status"] == "SUCCESS"
    assert session["hparams"]["steps"] == 20000
    assert (tmp_path / "notes.txt").read_text("utf-8") == "mine"


def test_worker_that_writes_nothing_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with recorded(None):
        pass
    assert not list(tmp_path.iterdir())


def test_text_has_the_command_and_when_it_was_given():
    first = run_card.text("python train.py --seed 7", CONFIG, 0)
    assert first.startswith(
        "begun\n\n    python train.py --seed 7\n\n| flag | value |\n|---|---|\n"
    )
    assert "\n| seed | 7 |\n" in first
    assert run_card.text("python train.py", CONFIG, 40).startswith(
        "resumed at step 40\n\n    python"
    )
    assert run_card.text("", CONFIG, 0).startswith("begun\n\n| flag | value |")


def test_long_command_is_broken_where_a_shell_takes_it():
    command = "python train.py " + " ".join(f"--flag{i} 'a b {i}'" for i in range(12))
    _, shown, *_ = run_card.text(command, CONFIG, 0).split("\n\n")
    lines = shown.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("    ") and len(line) < 100 for line in lines)
    done = subprocess.run(
        ["sh", "-c", f"printf '%s;' {shown}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split(";")[:-1] == shlex.split(command)


def test_bar_in_a_setting_does_not_end_its_cell():
    config = dataclasses.replace(CONFIG, run_dir="a|b")
    assert "| run_dir | a\\|b |" in run_card.text("", config, 0)
