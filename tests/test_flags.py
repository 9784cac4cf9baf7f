"""Flags: text to value and back, and what errors say."""

import dataclasses
import json

import pytest

from tf_advseg import flags
from tf_advseg.errors import InputError
from tf_advseg.options import EvaluateConfig, ExportConfig
from tf_advseg.train_options import TrainConfig

#: Values of TrainConfig that are not the default; a field that is not here is tested with its own.
VALUES = {
    "selection": "both",
    "preset": "paper",
    "dataset": "folder",
    "data_dir": "données/mit leer, zeichen",
    "labeled_fraction": 0.125,
    "labeled_list": "/lists/ünï.txt",
    "train_split": "trainval",
    "val_split": "test",
    "batch_size": 3,
    "crop_size": (65, 129),
    "input_scale": 1 / 3,
    "random_scale": (0.7, 1.1),
    "crop_rule": "area",
    "random_flip": False,
    "void_as_background": True,
    "backbone": "resnet101",
    "head": "deeplabv2",
    "output_stride": 16,
    "weights": "imagenet",
    "backbone_style": "torchvision",
    "normalization": "deeplab",
    "batch_norm": "frozen_affine",
    "head_dilations": (6, 12),
    "align_corners": True,
    "discriminator_outputs": 2,
    "discriminator_padding": "one",
    "discriminator_init": "torch",
    "spectral_norm": True,
    "discriminator_channels": 32,
    "method": "adv",
    "lambda_adv": 0.0,
    "lambda_adv_unlabeled": 1e-12,
    "lambda_semi": 0.1 + 0.2,
    "t_semi": 1.0,
    "semi_start": 0,
    "mixing": "coin_flip",
    "unlabeled_fakes": True,
    "label_smoothing": 0.1,
    "discriminator_loss_scale": 0.5,
    "steps": 123456789,
    "learning_rate": 2.5e-4,
    "discriminator_learning_rate": 1.23456789e-5,
    "discriminator_optimizer": "sgd",
    "discriminator_betas": (0.5, 0.999),
    "discriminator_momentum": 0.25,
    "discriminator_weight_decay": 1e-4,
    "head_learning_rate_scale": 10.0,
    "momentum": 0.99,
    "nesterov": False,
    "weight_decay": 5e-4,
    "poly_power": 0.0,
    "precision": "mixed_bfloat16",
    "strategy": "mirrored",
    "steps_per_execution": 5,
    "data_service": "grpc://reader-1.local:5050",
    "profile": "10:20",
    "eval_protocol": "padded",
    "eval_size": (505, 321),
    "eval_checkpoint": "best",
    "seed": 2**31 - 1,
    "eval_every": 7,
    "checkpoint_every": 11,
    "run_dir": "runs/x",
    "resume": True,
}
OPTIONAL = ["preset", "data_dir", "labeled_list", "semi_start", "precision", "eval_every"]


@dataclasses.dataclass(frozen=True)
class Example:
    """One flag of each kind."""

    count: int = flags.flag(1, flags.integer(1, 9), "how many")
    rate: float = flags.flag(0.5, flags.number(0, 1, above=True), "of 100 % at most")
    name: str = flags.flag("a", flags.choice(("a", "b")), "which")
    window: tuple[int, int] | None = flags.flag(None, flags.size(), "of what")
    pair: tuple[float, float] = flags.flag((1.0, 2.0), flags.numbers(2), "two")
    path: str | None = flags.flag(None, flags.text(), "where", group="files")
    on: bool = flags.flag(True, flags.boolean(), "whether", group="files")
    go: bool = flags.flag(False, flags.switch(), "now", group="files")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("--count=9", 9),
        ("--rate=2.5e-4", 0.00025),
        ("--rate=1", 1.0),
        ("--name=b", "b"),
        ("--window=5", (5, 5)),
        ("--window=5,7", (5, 7)),
        ("--pair=0.5,1.5", (0.5, 1.5)),
        ("--path=a b", "a b"),
        ("--on=false", False),
        ("--on=true", True),
        ("--go", True),
    ],
)
def test_text_becomes_its_value(argument, value):
    name = argument[2:].split("=")[0]
    parsed = flags.parse(Example, [argument], "")
    assert parsed == {name: value}
    assert type(parsed[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("count", "0", "a whole number of at least 1 and at most 9"),
        ("count", "10", "a whole number of at least 1 and at most 9"),
        ("count", "1.5", "a whole number of at least 1 and at most 9"),
        ("count", "", "a whole number of at least 1 and at most 9"),
        ("rate", "0", "a number above 0 and at most 1"),
        ("rate", "1.001", "a number above 0 and at most 1"),
        ("rate", "nan", "a number above 0 and at most 1"),
        ("rate", "half", "a number above 0 and at most 1"),
        ("name", "c", "one of a, b"),
        ("name", "A", "one of a, b"),
        ("window", "0", "N or H,W, in pixels, each at least 1"),
        ("window", "5,0", "N or H,W, in pixels, each at least 1"),
        ("window", "1,2,3", "N or H,W, in pixels, each at least 1"),
        ("window", "5x5", "N or H,W, in pixels, each at least 1"),
        ("pair", "1", "2 comma-separated numbers above 0"),
        ("pair", "1,2,3", "2 comma-separated numbers above 0"),
        ("pair", "0,1", "2 comma-separated numbers above 0"),
        ("pair", "1,inf", "2 comma-separated numbers above 0"),
        ("pair", "1,nan", "2 comma-separated numbers above 0"),
        ("path", "", "a text that is not empty and can be a path"),
        ("on", "yes", "true or false"),
    ],
)
def test_wrong_value_is_told_with_flag_value_and_what_is_allowed(name, text, allowed):
    with pytest.raises(InputError) as caught:
        flags.parse(Example, [f"--{name}", text], "")
    assert str(caught.value) == f"--{name} is {text!r}; allowed: {allowed}"


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("steps_per_execution", "0", "a whole number of at least 1"),
        ("strategy", "foo", "one of auto, mirrored, multi_worker"),
        ("recompute", "yes", "true or false"),
        ("data_service", "host", "grpc://HOST:PORT"),
        ("data_service", "grpc://host", "grpc://HOST:PORT"),
        ("data_service", "grpc://host:\u0663", "grpc://HOST:PORT"),  # An Arabic digit.
        ("data_service", "http://host:5050", "grpc://HOST:PORT"),
    ],
)
def test_wrong_value_of_an_execution_flag_is_refused(name, text, allowed):
    with pytest.raises(InputError) as caught:
        flags.parse(TrainConfig, [f"--{name}", text], "")
    assert str(caught.value) == f"--{name} is {text!r}; allowed: {allowed}"


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e999"])
def test_number_is_finite(text):
    with pytest.raises(ValueError):
        flags.number(0).parse(text)


def test_number_above_differs_from_at_least():
    assert flags.number(0).parse("0") == 0
    with pytest.raises(ValueError):
        flags.number(0, above=True).parse("0")


def test_numbers_without_count_takes_any_count():
    kind = flags.numbers()
    assert kind.parse("1") == (1.0,)
    assert kind.parse("0.75,1,1.25") == (0.75, 1.0, 1.25)


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--no_such_flag", "1"], "--no_such_flag"),
        (["--coun", "1"], "--coun"),
        (["--count"], "--count"),
        (["stray"], "stray"),
        (["--go=1"], "--go"),
    ],
    ids=["unknown", "shortened", "without value", "stray word", "value of a switch"],
)
def test_wrong_command_line_is_told(argv, word):
    with pytest.raises(InputError, match=word):
        flags.parse(Example, argv, "")


def test_only_given_flags_are_returned():
    assert flags.parse(Example, [], "") == {}
    assert flags.parse(Example, ["--count", "2", "--go"], "") == {"count": 2, "go": True}


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(TrainConfig)])
def test_every_field_survives_json_and_the_command_line(name, tmp_path):
    value = VALUES.get(name, getattr(TrainConfig, name))
    config = dataclasses.replace(TrainConfig(), **{name: value})
    path = tmp_path / "config.json"
    path.write_text(flags.to_json(config), "utf-8")
    read = TrainConfig(**flags.values_from_json(TrainConfig, path))
    assert read == config
    assert type(getattr(read, name)) is type(value)

    arguments = [f"--{name}"] if name == "resume" else [f"--{name}", flags.to_text(value)]
    assert flags.parse(TrainConfig, arguments, "") == {name: value}


@pytest.mark.parametrize("name", OPTIONAL)
def test_none_survives_json(name, tmp_path):
    path = tmp_path / "config.json"
    config = TrainConfig(**{**VALUES, name: None})
    path.write_text(flags.to_json(config))
    assert json.loads(path.read_text())[name] is None
    assert TrainConfig(**flags.values_from_json(TrainConfig, path)) == config


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"steps": 5, "stepps": 6, "a": 1}', "unknown keys: a, stepps"),
        ('{"steps": 0}', "--steps is '0'"),
        ('{"steps": "many"}', "--steps is 'many'"),
        ('{"steps": null}', "--steps is null"),
        ('{"steps": {"a": 1}}', "--steps is"),
        ('{"steps": true}', "--steps is 'true'"),
        ('{"crop_size": []}', "--crop_size is ''"),
        ("[1]", "no JSON object"),
        ("{", "cannot read"),
        ("", "cannot read"),
    ],
)
def test_wrong_json_is_told(content, words, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        flags.values_from_json(TrainConfig, path)


def test_missing_and_undecodable_json_are_told(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(InputError, match=r"cannot read .*config\.json"):
        flags.values_from_json(TrainConfig, path)
    path.write_bytes(b'{"steps": "\xff"}')
    with pytest.raises(InputError, match=r"cannot read .*config\.json"):
        flags.values_from_json(TrainConfig, path)


@pytest.mark.parametrize("cls", [Example, TrainConfig, EvaluateConfig, ExportConfig])
def test_help_lists_every_flag_and_exits_0(cls, capsys):
    with pytest.raises(SystemExit) as caught:
        flags.parse(cls, ["--help"], "What it does.")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "What it does." in shown
    for field in dataclasses.fields(cls):
        assert f"--{field.name}" in shown


def test_help_shows_groups_defaults_and_percent_signs(capsys):
    with pytest.raises(SystemExit):
        flags.parse(Example, ["--help"], "")
    shown = capsys.readouterr().out
    assert shown.count("files:") == 1
    assert "of 100 % at most [0.5]" in shown
    assert "two [1,2]" in shown
    assert "--name {a,b}" in shown
    assert "None" not in shown


@dataclasses.dataclass(frozen=True)
class Repeated:
    archive: tuple[int, ...] = flags.flag((), flags.several(flags.integer(2)), "numbers")


def test_flag_that_repeats_has_each_value_checked_and_in_order():
    assert flags.parse(Repeated, [], "") == {}
    assert flags.parse(Repeated, ["--archive", "3"], "") == {"archive": (3,)}
    given = flags.parse(Repeated, ["--archive", "3", "--archive=2"], "")
    assert given == {"archive": (3, 2)}
    with pytest.raises(InputError, match="--archive is '1'"):
        flags.parse(Repeated, ["--archive", "3", "--archive", "1"], "")


def test_known_flags_are_told_from_others():
    given, rest = flags.parse_known(Repeated, ["--other", "1", "--archive", "4", "--last"], "")
    assert (given, rest) == ({"archive": (4,)}, ["--other", "1", "--last"])
