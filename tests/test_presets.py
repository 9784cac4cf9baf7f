"""The published recipes: each row of docs/fidelity.md's table, as `config.json` shows it."""

import dataclasses

import pytest

from tf_advseg import flags
from tf_advseg.config import preset_warnings, train_config
from tf_advseg.errors import InputError
from tf_advseg.presets import FOR_DATASET, PRESETS
from tf_advseg.train_options import TrainConfig

# What each recipe says, read from the paper, hfslyc/AdvSemiSeg and
# mohitzsh/Adversarial-Semisupervised-Semantic-Segmentation: row -> paper, authors, challenge.
ROWS = {
    "learning_rate": (2.5e-4, 2.5e-4, 2.5e-4),
    "momentum": (0.9, 0.9, 0.9),
    "nesterov": (True, False, True),
    "weight_decay": (1e-4, 5e-4, 1e-4),
    "head_learning_rate_scale": (10.0, 10.0, 1.0),
    "poly_power": (0.9, 0.9, 0.9),
    "discriminator_optimizer": ("adam", "adam", "sgd"),
    "discriminator_learning_rate": (1e-4, 1e-4, 1e-4),
    "discriminator_betas": ((0.9, 0.99), (0.9, 0.99), (0.9, 0.99)),
    "discriminator_momentum": (0.5, 0.5, 0.5),
    "discriminator_weight_decay": (0.0, 0.0, 1e-4),
    "crop_rule": ("scale", "scale", "area"),
    "random_scale": ((0.5, 1.5), (1.0, 1.0), (0.5, 1.5)),
    "random_flip": (True, False, False),
    "crop_size": ((321, 321), (321, 321), (321, 321)),
    "batch_size": (10, 10, 10),
    "steps": (20000, 20000, 20000),
    "lambda_adv": (0.01, 0.01, 0.01),
    "lambda_adv_unlabeled": (0.001, 0.001, 0.01),
    "lambda_semi": (0.1, 0.1, 0.1),
    "t_semi": (0.2, 0.2, 0.1),
    "semi_start": (5000, 5000, 0),
    "unlabeled_fakes": (False, True, False),
    "label_smoothing": (0.0, 0.0, 0.1),
    "discriminator_outputs": (1, 1, 2),
    "discriminator_loss_scale": (1.0, 0.5, 1.0),
    "discriminator_padding": ("one", "one", "two"),
    "discriminator_init": ("torch", "torch", "torch"),
    "discriminator_channels": (64, 64, 64),
    "spectral_norm": (False, False, False),
    "discriminator_strides": (5, 5, 5),
    "discriminator_sees_image": (False, False, False),
    "discriminator_floor": (0.0, 0.0, 0.0),
    "adversarial_loss": ("cross_entropy", "cross_entropy", "cross_entropy"),
    "truth_peak": (1.0, 1.0, 1.0),
    "instance_noise": (0.0, 0.0, 0.0),
    "lambda_confidence": (0.0, 0.0, 0.0),
    "selection": ("confidence", "confidence", "confidence"),  # Equation 5.
    "ema_decay": (0.0, 0.0, 0.0),
    "void_as_background": (False, False, True),
    "batch_norm": ("frozen_affine", "frozen_affine", "train"),
    "head_dilations": ((6, 12, 18, 24), (6, 12), (6, 12, 18, 24)),
    "mixing": ("one_batch", "separate", "coin_flip"),
    "normalization": (None, "authors", "imagenet"),  # None: as the weights want it.
    "align_corners": (True, True, True),
    "eval_protocol": ("full", "padded", "random_crop"),
    "eval_size": (None, (505, 505), (321, 321)),
    "eval_checkpoint": ("last", "last", "best"),
    "backbone": ("resnet101", "resnet101", "resnet101"),
    "head": ("deeplabv2", "deeplabv2", "deeplabv2"),
    "output_stride": (8, 8, 8),
    "weights": ("imagenet", "imagenet", "imagenet"),
    "input_scale": (1.0, 1.0, 1.0),
    "train_split": ("train_aug", "train_aug", "train_aug"),
    "val_split": ("val", "val", "val"),
}
PUBLISHED = ("paper", "authors", "challenge")

#: What does not belong to a recipe.
OTHER = {
    "preset", "dataset", "data_dir", "labeled_fraction", "labeled_list", "method", "precision",
    "seed", "eval_every", "checkpoint_every", "run_dir", "resume", "backbone_style",
    "t_probability", "distortion", "cutmix",  # Of methods that are not published.
    "strategy", "steps_per_execution", "data_service", "recompute", "profile", "deterministic",
}  # fmt: skip


def settings_of(preset, *argv, dataset="voc2012"):
    return train_config(["--preset", preset, "--dataset", dataset, "--data_dir", "d", *argv])


@pytest.mark.parametrize(("index", "preset"), list(enumerate(PUBLISHED)))
def test_preset_is_the_published_recipe(index, preset):
    settings = settings_of(preset)
    wrong = {
        name: (getattr(settings, name), values[index])
        for name, values in ROWS.items()
        if getattr(settings, name) != values[index]
    }
    assert wrong == {}


def test_every_setting_of_a_recipe_is_in_the_table():
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert names == set(ROWS) | OTHER


@pytest.mark.parametrize("preset", PUBLISHED)
def test_preset_for_cityscapes_has_the_papers_crop_batch_and_length(preset):
    settings, voc = settings_of(preset, dataset="cityscapes"), settings_of(preset)
    assert (settings.crop_size, settings.batch_size, settings.steps) == ((512, 1024), 2, 40000)
    assert settings.train_split == "train"
    assert not settings.void_as_background
    changed = {
        "dataset", "run_dir", "crop_size", "batch_size", "steps", "train_split",
        "void_as_background", "eval_protocol", "eval_size", "eval_every", "checkpoint_every",
    }  # fmt: skip
    for name in {field.name for field in dataclasses.fields(TrainConfig)} - changed:
        assert getattr(settings, name) == getattr(voc, name)


def test_cityscapes_is_evaluated_whole_or_in_random_crops_of_the_training_crop():
    found = [settings_of(preset, dataset="cityscapes") for preset in PUBLISHED]
    assert [(s.eval_protocol, s.eval_size) for s in found] == [
        ("full", None),
        ("full", None),
        ("random_crop", (512, 1024)),
    ]


def test_values_for_a_data_set_are_of_presets_and_flags_that_exist():
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    for (preset, _), values in FOR_DATASET.items():
        assert preset in PRESETS
        assert set(values) <= names


def test_flag_wins_over_what_a_preset_has_for_a_data_set():
    assert settings_of("paper", "--steps", "7", dataset="cityscapes").steps == 7
    assert settings_of("paper", "--train_split", "train").train_split == "train"


@pytest.mark.parametrize("preset", ["paper", "authors"])
def test_without_pretrained_weights_batch_norm_trains_and_the_preset_says_so(preset):
    assert settings_of(preset, "--weights", "none").batch_norm == "train"
    argv = ["--preset", preset]
    [warning] = preset_warnings([*argv, "--weights", "none"])
    assert "--batch_norm frozen_affine" in warning and "without them batch norm trains" in warning
    assert preset_warnings(argv) == []
    assert preset_warnings([*argv, "--weights", "none", "--batch_norm", "train"]) == []


def test_preset_that_trains_batch_norm_has_nothing_to_say():
    assert preset_warnings(["--preset", "challenge", "--weights", "none"]) == []
    assert preset_warnings([]) == []


@pytest.mark.parametrize("mode", ["frozen", "frozen_affine"])
def test_frozen_batch_norm_of_random_weights_is_refused(mode):
    with pytest.raises(InputError, match=f"--batch_norm is {mode} without pretrained weights"):
        settings_of("paper", "--weights", "none", "--batch_norm", mode)


def test_batch_norm_of_pretrained_weights_is_frozen_unless_told():
    argv = ["--backbone", "resnet50", "--weights", "imagenet"]
    assert train_config(argv).batch_norm == "frozen"
    assert train_config([*argv, "--batch_norm", "train"]).batch_norm == "train"
    assert train_config(["--run_dir", "r"]).batch_norm == "train"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--mixing", "coin_flip", "--unlabeled_fakes", "true"], "--unlabeled_fakes true means"),
        (["--backbone_style", "deeplab"], "--backbone_style deeplab: small has none"),
        (["--eval_protocol", "padded"], "--eval_protocol padded needs --eval_size"),
        (["--label_smoothing", "0.6"], "--label_smoothing is '0.6'"),
        (["--discriminator_betas", "0.9,1"], "above 0 and below 1"),
        (["--head_dilations", "6,0"], "whole numbers of at least 1"),
        (["--head_dilations", "6,6"], "different comma-separated"),
        (["--eval_size", "9"], "--eval_size means nothing beside --eval_protocol full"),
        (["--discriminator_momentum", "0.1"], "beside --discriminator_optimizer adam"),
        (["--head", "upernet", "--head_dilations", "6"], "beside --head upernet"),
        (["--crop_rule", "area", "--random_scale", "1,1"], "beside --crop_rule area"),
        (["--crop_rule", "area", "--input_scale", "0.5"], "--input_scale 0.5 means nothing"),
        (["--discriminator_outputs", "3"], "one of 1, 2"),
        (
            ["--method", "teacher", "--selection", "weighted"],
            "--selection means nothing beside --method teacher; allowed: one of them",
        ),
        (
            ["--label_smoothing", "0.1", "--adversarial_loss", "hinge"],
            "--label_smoothing means nothing beside --adversarial_loss hinge",
        ),
        (
            ["--adversarial_loss", "least_squares", "--label_smoothing", "0.1"],
            "--label_smoothing means nothing beside --adversarial_loss least_squares",
        ),
        (
            ["--lambda_semi", "0", "--semi_start", "5"],
            "--semi_start means nothing beside --lambda_semi 0",
        ),
        (
            ["--lambda_semi", "0", "--t_probability", "0.5"],
            "--t_probability means nothing beside --lambda_semi 0",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(argv, words):
    with pytest.raises(InputError) as error:
        train_config(argv)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "argv",
    [
        ["--method", "teacher", "--selection", "probability"],  # As it does in any case.
        *(["--method", m, "--selection", "both"] for m in ("baseline", "adv", "semi", "semi_plus")),
        ["--adversarial_loss", "hinge", "--label_smoothing", "0"],
        ["--lambda_semi", "0", "--t_semi", "0.3"],  # Validation has it too.
        # What a preset has is left alone.
        ["--preset", "challenge", "--adversarial_loss", "hinge"],
        ["--preset", "paper", "--lambda_semi", "0"],
    ],
)
def test_flag_that_changes_something_or_is_a_presets_is_taken(argv):
    settings = train_config(argv)
    for flag, value in zip(argv[::2], argv[1::2]):
        assert flags.to_text(getattr(settings, flag.removeprefix("--"))) == value


@pytest.mark.parametrize(
    ("method", "selection"),
    [("semi", "confidence"), ("teacher", "probability"), ("semi_plus", "weighted")],
)
def test_selection_of_a_method_stands_in_its_settings(method, selection):
    assert train_config(["--method", method]).selection == selection


@pytest.mark.parametrize("preset", ["default", "challenge"])
def test_presets_smoothing_is_not_that_of_a_loss_that_has_none(preset):
    argv = ["--preset", preset, "--dataset", "voc2012", "--data_dir", "d"]
    assert train_config(argv).label_smoothing == 0.1
    assert train_config([*argv, "--adversarial_loss", "hinge"]).label_smoothing == 0


def test_coin_flip_is_no_trouble_to_a_method_without_unlabeled_images():
    assert settings_of("authors", "--method", "adv", "--mixing", "coin_flip").mixing == "coin_flip"
    recipe = settings_of("challenge", "--method", "adv").recipe()
    assert not recipe.uses_unlabeled
    assert not settings_of("authors", "--method", "adv").recipe().unlabeled_fakes
