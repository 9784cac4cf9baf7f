"""What goes wrong without an error: each rule on logs made by hand, and when a run tells of it."""

import math

import numpy as np
import pytest

from tests import event_files
from tests.runs import AS_PUBLISHED, TINY, call
from tf_advseg.config import train_config
from tf_advseg.train_options import TrainConfig
from tf_advseg.training import health

#: Of a run that goes well, at its end.
HEALTHY = {
    "discriminator": 0.31,
    "selected_fraction": 0.07,
    "confidence_true": 0.87,
    "confidence_predicted": 0.14,
}
NAMES = ("sky", "road", "car")


def config_of(*flags):
    data = ("--dataset", "folder", "--data_dir", "d", "--run_dir", "r")
    return train_config([*data, "--steps", "4000", *AS_PUBLISHED, *flags])


def stretch(first=2001, last=2400, **values):
    return health.Stretch(first, last, {**HEALTHY, **values})


def confusion(*rows):
    return np.array(rows, np.int64)


def found(rule, measured, *flags):
    return rule(config_of(*flags), measured)


@pytest.mark.parametrize("rule", health.TRAINING_RULES, ids=lambda rule: rule.__name__)
def test_healthy_run_and_baseline_are_left_alone(rule):
    assert found(rule, stretch()) is None
    without = health.Stretch(2001, 2400, {"loss": 0.5, "cross_entropy": 0.5})
    assert found(rule, without, "--method", "baseline") is None


@pytest.mark.parametrize(
    ("flags", "least", "most"),
    [
        ((), 0.0, 2 * math.log(2)),
        (("--discriminator_loss_scale", "0.5"), 0.0, math.log(2)),
        (("--adversarial_loss", "hinge"), 0.0, 2.0),
        (("--adversarial_loss", "least_squares", "--discriminator_loss_scale", "3"), 0.0, 3.0),
        # H(.9), and a discriminator that says .45 of everything.
        (
            ("--label_smoothing", "0.1"),
            -0.9 * math.log(0.9) - 0.1 * math.log(0.1),
            -math.log(0.55) - 0.9 * math.log(0.45) - 0.1 * math.log(0.55),
        ),
    ],
)
def test_discriminator_has_won_by_the_scale_of_its_loss(flags, least, most):
    assert health.loss_range(config_of(*flags)) == pytest.approx((least, most))
    near = [least + share * (most - least) for share in (0.04, 0.06)]
    won, not_yet = (
        found(health.discriminator_won, stretch(discriminator=loss), *flags) for loss in near
    )
    assert won is not None and not_yet is None


def test_discriminator_that_has_won_is_told_with_figures_and_flags():
    lost_to = stretch(discriminator=0.04, selected_fraction=0.031)
    assert str(found(health.discriminator_won, lost_to)) == (
        "the discriminator has won: L_D is 0.040 in the steps 2001 to 2400, where 0.00 is the "
        "least and 1.39 is of one that knows nothing; 3.1 % of the pixels are selected. The "
        "segmenter learns little from it; in a new run, try --spectral_norm true, or "
        "--discriminator_learning_rate 2.5e-05 (now 0.0001), or --label_smoothing 0.1"
    )
    have = ("--spectral_norm", "true", "--label_smoothing", "0.1")
    told = found(health.discriminator_won, stretch(discriminator=0.33), *have)
    assert told.tries == ["--discriminator_learning_rate 2.5e-05 (now 0.0001)"]
    # Only the cross-entropy has a target that could be smoothed.
    hinge = ("--spectral_norm", "true", "--adversarial_loss", "hinge")
    assert found(health.discriminator_won, stretch(discriminator=0.01), *hinge).tries == told.tries


@pytest.mark.parametrize(
    ("true", "predicted", "tells"), [(0.51, 0.50, True), (0.40, 0.45, True), (0.55, 0.5, False)]
)
def test_discriminator_that_says_the_same_of_all_has_lost(true, predicted, tells):
    values = stretch(confidence_true=true, confidence_predicted=predicted)
    told = found(health.discriminator_lost, values, "--spectral_norm", "true")
    assert (told is not None) == tells
    if tells:
        assert f"{true:.3f} in true labels and {predicted:.3f} in predictions" in told.what
        assert told.tries == [
            "--discriminator_learning_rate 0.0004 (now 0.0001)",
            "--spectral_norm false",
            "--lambda_adv 0.0025 (now 0.01)",
        ]


@pytest.mark.parametrize(
    ("selected", "first", "tells"),
    [(0.004, 1001, True), (0.02, 1001, False), (0.004, 1000, False), (0.0, 3000, True)],
)
def test_nothing_is_selected_after_semi_start(selected, first, tells):
    config = config_of()
    assert config.semi_start == 1000
    told = health.nothing_selected(config, stretch(first, selected_fraction=selected))
    assert (told is not None) == tells
    if tells:
        assert f"{100 * selected:.2f} % of the unlabeled pixels pass t_semi 0.2" in told.what
        assert told.tries[0] == "--t_semi 0.1 (now 0.2)"


@pytest.mark.parametrize("method", ["teacher", "semi_plus"])
def test_selection_by_probability_is_told_by_its_own_flag(method):
    config = train_config(["--method", method, "--t_probability", "0.5"])
    told = health.nothing_selected(config, stretch(3000, selected_fraction=0.0))
    assert "0.00 % of the unlabeled pixels pass t_probability 0.5" in told.what
    # No discriminator can be to blame.
    assert told.tries == ["--t_probability 0.25 (now 0.5)"]


@pytest.mark.parametrize(
    ("matrix", "tells"),
    [
        # All is called road, and half of it is.
        (confusion([0, 300, 0], [0, 500, 0], [0, 200, 0]), True),
        (confusion([4, 296, 0], [0, 500, 0], [5, 195, 0]), True),
        (confusion([20, 280, 0], [0, 500, 0], [0, 200, 0]), False),
        # All is called road, and nearly all is; or nothing was counted.
        (confusion([0, 20, 0], [0, 980, 0], [0, 0, 0]), False),
        (np.zeros((3, 3), np.int64), False),
        # Several are called so that are truly one.
        (confusion([0, 0, 0], [300, 400, 300], [0, 0, 0]), False),
    ],
)
def test_segmenter_predicts_one_class(matrix, tells):
    told = found(health.one_class, health.Validated(900, matrix, NAMES), "--learning_rate", "0.2")
    assert (told is not None) == tells
    if tells:
        share = 100 * matrix[:, 1].sum() / 1000
        assert told.what == (
            f"the segmenter predicts one class: 'road' for {share:.1f} % of the validation pixels "
            "at step 900, though 50.0 % are truly of it"
        )
        assert told.tries == ["--learning_rate 0.05 (now 0.2)", "--lambda_adv 0.0025 (now 0.01)"]


# When


def watched(steps):
    told = []
    config = config_of("--steps", str(steps))
    return health.Health(config, 20, lambda *warning: told.append(warning)), told


@pytest.mark.parametrize(("steps", "patience"), [(100, 200), (1000, 200), (4000, 400)])
def test_it_is_told_once_and_after_a_tenth_of_the_run(steps, patience):
    callback, told = watched(steps)
    for step in range(1, 3 * patience):
        callback.on_step(step, {**HEALTHY, "discriminator": 0.04})
        assert len(told) == (step >= patience)
    ((name, text, step),) = told
    assert (name, step) == ("discriminator_won", patience)
    assert f"L_D is 0.040 in the steps 1 to {patience}" in text


def test_mean_over_the_stretch_counts_and_not_its_last_window():
    callback, told = watched(1000)
    losses = [0.3, *[0.05] * 9, 0.05]
    for number, loss in enumerate(losses, 1):
        callback.on_step(20 * number - 1, {**HEALTHY, "discriminator": math.nan})  # No window's.
        assert told == []
        callback.on_step(20 * number, {**HEALTHY, "discriminator": loss})
    assert [step for _, _, step in told] == [220]  # (0.3 + 9 * 0.05) / 10 is 0.075.
    assert "L_D is 0.050 in the steps 21 to 220" in told[0][1]


@pytest.mark.parametrize(("steps", "first"), [(600, 200), (4000, 1000)])
def test_validations_of_the_beginning_may_be_of_one_class(steps, first):
    callback, told = watched(steps)
    for step in (first - 1, first, first + 1):
        callback.on_validation(step, confusion([0, 5], [0, 5]), NAMES)
        assert len(told) == (step >= first)


def test_flags_that_are_named_are_those_of_the_script():
    known = {f"--{name}" for name in TrainConfig.__dataclass_fields__}
    findings = [
        found(health.discriminator_won, stretch(discriminator=0.0)),
        found(health.discriminator_lost, stretch(confidence_true=0.1), "--spectral_norm", "true"),
        found(health.nothing_selected, stretch(selected_fraction=0.0)),
        found(health.one_class, health.Validated(900, confusion([0, 5], [0, 5]), NAMES)),
    ]
    for finding in findings:
        for flag in finding.tries:
            name, value = flag.split()[:2]
            assert name in known
            config_of(name, value)  # And the value is allowed.


def test_run_tells_it_on_stderr_and_in_tensorboard(voc_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(health, "_LEAST_STEPS", 20)
    monkeypatch.setattr(health, "_ALIKE", 2.0)  # Whatever it says, it has lost.
    flags = ("--dataset", "folder", "--data_dir", voc_folder(train=2, val=1), *TINY)
    more = ("--method", "adv", "--steps", "20", "--eval_every", "20")
    assert call("train", *flags, *more, "--run_dir", tmp_path / "run") == 0
    warned = capsys.readouterr().err.splitlines()
    (line,) = (line for line in warned if "the discriminator" in line)
    assert line.startswith("warning: the discriminator tells nothing: its mean confidence is 0.")
    shown = event_files.tensors(tmp_path / "run" / "tensorboard" / "train")
    texts = shown["warnings/discriminator_lost"]
    assert {step: text.item().decode() for step, text in texts.items()} == {
        20: line.removeprefix("warning: ")
    }
