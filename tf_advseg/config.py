"""From the command line to checked settings of the three scripts. No TensorFlow here.

A value comes from the first of: the flag as given, the preset, the default in `options`.
"""

import dataclasses
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tf_advseg import combinations, flags, resume, textfile
from tf_advseg.errors import InputError
from tf_advseg.evaluation.results import RESULTS_FILE
from tf_advseg.options import FULL, LOG_EVERY, EvaluateConfig, ExportConfig
from tf_advseg.presets import FOR_DATASET, PRESETS, preset_values
from tf_advseg.recipe import CROSS_ENTROPY
from tf_advseg.train_options import TrainConfig

#: Files of a run folder: every resolved value, the classes, the labeled and unlabeled ids.
CONFIG_FILE, CLASSES_FILE, SPLIT_FILE = "config.json", "classes.json", "split.json"

#: Folders of a run folder: of the last checkpoints, and in it of the best one.
CHECKPOINTS, BEST = "checkpoints", "best"


def stored_config(run_dir: Path) -> TrainConfig:
    """Returns the configuration of a run, from its folder.

    Raises:
      InputError: the folder holds no run, or its configuration is wrong.
    """
    return TrainConfig(**flags.values_from_json(TrainConfig, run_dir / CONFIG_FILE))


#: Flags of evaluate.py with which its scores are not of the kind that training leaves.
_OTHER_SCORES = (
    "images", "checkpoint", "split", "scales", "flip", "sliding_window", "eval_protocol",
    "eval_size", "void_as_background",
)  # fmt: skip


def evaluate_config(argv: list[str] | None = None) -> EvaluateConfig:
    """Returns the configuration of evaluate.py.

    Raises:
      InputError: a wrong flag, or flags that do not go together.
    """
    description = "Evaluate a run or an export, or segment images that have no labels."
    given = flags.parse(EvaluateConfig, argv, description)
    config = EvaluateConfig(**given)
    if config.run_dir is None and not (config.saved_model and (config.images or config.data_dir)):
        raise InputError("give --run_dir, or --saved_model with --images or --data_dir")
    if config.run_dir is not None:
        _require_run(Path(config.run_dir))
    if config.saved_model:
        _require_folder("saved_model", config.saved_model)
        _refuse_beside("saved_model", given, ("checkpoint", "scales", "flip", "sliding_window"))
    if config.eval_protocol not in (None, FULL):
        _refuse_beside(f"eval_protocol {config.eval_protocol}", given, ("sliding_window", "images"))
    if config.compare:
        if config.run_dir is None:
            raise InputError("--compare needs --run_dir")
        # The other run's scores are of its last step, and of its own validation images as they are.
        _refuse_beside("compare", given, _OTHER_SCORES)
        _require_run(Path(config.compare), "compare")
    if config.images:
        _refuse_beside("images", given, ("split", "data_dir", "eval_size", "void_as_background"))
        _require_folder("images", config.images)
        if config.save_masks is None:
            raise InputError("--images needs --save_masks, the folder to write to")
    return config


def export_config(argv: list[str] | None = None) -> ExportConfig:
    """Returns the configuration of export.py.

    Raises:
      InputError: a wrong or missing flag.
    """
    config = ExportConfig(**flags.parse(ExportConfig, argv, "Export a run as a SavedModel."))
    if config.run_dir is None or config.output is None:
        raise InputError("give --run_dir and --output")
    _require_run(Path(config.run_dir))
    return config


def _refuse_beside(name: str, given: dict[str, Any], others: tuple[str, ...]) -> None:
    """Raises InputError if a flag is given that means nothing beside `name`."""
    for other in others:
        if other in given:
            raise InputError(f"--{other} means nothing beside --{name}; allowed: one of them")


def _require_folder(name: str, folder: str) -> None:
    if not Path(folder).is_dir():
        raise InputError(f"--{name} {folder} is no folder")


def _require_run(run_dir: Path, name: str = "run_dir") -> None:
    if not (run_dir / CONFIG_FILE).is_file():
        raise InputError(f"--{name} {run_dir} holds no run: no {CONFIG_FILE}; train one first")


def train_config(argv: list[str] | None = None) -> TrainConfig:
    """Returns the configuration of train.py: of a new run, or of the one that is resumed.

    Raises:
      InputError: a wrong flag; a folder that holds a run, without --resume; or a setting that a
        resumed run cannot change.
    """
    description = "Train a segmenter from few labels and many images."
    given = flags.parse(TrainConfig, argv, description, _describe_presets())
    run_dir = Path(given["run_dir"] if "run_dir" in given else resolve(given).run_dir)
    if not (run_dir / CONFIG_FILE).is_file():
        # Of a finished run its results may be all that was kept.
        kept = {RESULTS_FILE} if given.get("resume") else set()
        if run_dir.is_file() or (run_dir.is_dir() and _holds_files(run_dir, kept)):
            raise InputError(f"--run_dir {run_dir} holds other files; allowed: a new folder")
        # Scripts may say --resume always. But alone with a folder, that is mistyped.
        if set(given) == {"run_dir", "resume"} and not run_dir.exists():
            raise InputError(
                f"there is no --run_dir {run_dir} to resume; "
                "allowed: the folder of a run, or the settings of a new one"
            )
        return resolve(given)
    if not given.get("resume"):
        raise InputError(
            f"--run_dir {run_dir} holds a run; go on with it by --resume, or choose another folder"
        )
    stored = {**flags.values_from_json(TrainConfig, run_dir / CONFIG_FILE), "run_dir": str(run_dir)}
    config, before = resolve(given, stored), resolve({}, stored)
    resume.refuse_changes(given, before, config)
    return config


def _holds_files(folder: Path, kept: Collection[str]) -> bool:
    """Returns whether a folder holds more than `kept` and what a run killed as it begins leaves."""
    return not all(path.name in kept or textfile.is_unfinished(path) for path in folder.iterdir())


def _describe_presets() -> str:
    lines = ["presets, where they differ from the defaults in brackets:"]
    for preset, values in PRESETS.items():
        shown = " ".join(f"--{key} {flags.to_text(value)}" for key, value in values.items())
        text = f"{preset}: {shown}"
        lines += textwrap.wrap(text, 78, initial_indent="  ", subsequent_indent="    ")
    for (preset, dataset), values in FOR_DATASET.items():
        told = {key: value for key, value in values.items() if value is not None}
        shown = " ".join(f"--{key} {flags.to_text(value)}" for key, value in told.items())
        text = f"{preset} with --dataset {dataset}: {shown}"
        lines += textwrap.wrap(text, 78, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def resolve(given: dict[str, Any], stored: dict[str, Any] | None = None) -> TrainConfig:
    """Returns the full configuration for the flags in `given`.

    Args:
      given: the flags of this command.
      stored: the values of the run that is resumed; they replace preset and defaults.

    Raises:
      InputError: flags that contradict each other.
    """
    if "labeled_list" in given and "labeled_fraction" in given:
        raise InputError("--labeled_list and --labeled_fraction: give one of them")
    if stored is not None:
        return _derive(TrainConfig(**{**stored, **given}))
    preset = _preset_of(given)
    values = {**preset_values(preset, given.get("dataset")), **given, "preset": preset}
    if values.get("weights", TrainConfig.weights) == "none":
        # Random weights under identity norm overflow, so that there is nothing to freeze.
        if given.get("batch_norm", "train") != "train":
            raise InputError(
                f"--batch_norm is {given['batch_norm']} without pretrained weights; "
                "allowed: train, or --weights"
            )
        values["batch_norm"] = "train"
    loss = values.get("adversarial_loss", CROSS_ENTROPY)
    if loss != CROSS_ENTROPY and "label_smoothing" not in given:
        values["label_smoothing"] = 0.0  # A preset's means nothing to the other losses.
    # runs/demo is for the demo as it is; a run with settings of its own is named after them.
    if set(given) - {"resume", "preset"} and "run_dir" not in given:
        values["run_dir"] = None
    config = TrainConfig(**values)
    # Only here: a run that is resumed has its weights in its checkpoint.
    combinations.check_weights(config)
    combinations.refuse_idle(given, config)
    return _derive(config)


def preset_warnings(argv: list[str] | None = None) -> list[str]:
    """Returns what a new run does otherwise than its preset without having been told to."""
    given = flags.parse(TrainConfig, argv, "")
    if given.get("resume") or "batch_norm" in given:
        return []
    preset = _preset_of(given)
    values = {**preset_values(preset, given.get("dataset")), **given}
    frozen = values.get("batch_norm", "train")
    if values.get("weights", TrainConfig.weights) != "none" or frozen == "train":
        return []
    return [
        f"--preset {preset} has --batch_norm {frozen}, which needs pretrained weights; "
        "without them batch norm trains"
    ]


def _preset_of(given: dict[str, Any]) -> str:
    """Returns the preset that the flags name or mean."""
    return given.get("preset") or (
        "demo" if given.get("dataset", "shapes") == "shapes" else "default"
    )


def _derive(config: TrainConfig) -> TrainConfig:
    """Fills in the values that follow from others, and checks them against each other."""
    combinations.check(config)
    part = "list" if config.labeled_list else f"{config.labeled_fraction:g}"
    # Measured for the small backbone from scratch, whose head needs a lower rate than the rest. The
    # others are the paper's rate, and the head's of DeepLab and the authors' code.
    learning_rate, head_scale = (0.1, 0.1) if config.weights == "none" else (2.5e-4, 10.0)
    weights = config.weights
    if weights not in ("none", "imagenet"):
        weights = str(Path(weights).resolve())  # A run may be resumed from another folder.
    batch_norm = config.batch_norm or ("train" if config.weights == "none" else "frozen")
    eval_every = config.eval_every or max(1, config.steps // 10)
    # A segmenter's own labels are worth something later than the averages of one.
    part_before_semi = 10 if config.recipe().teacher else 4
    semi_start = config.semi_start
    if semi_start is None:
        semi_start = config.steps // part_before_semi
    checkpoint_every = config.checkpoint_every or eval_every
    combinations.check_execution(
        config.steps_per_execution,
        {
            f"--eval_every {eval_every}": eval_every,
            f"--checkpoint_every {checkpoint_every}": checkpoint_every,
            f"the curves' window of {LOG_EVERY} steps": LOG_EVERY,
        },
    )
    return dataclasses.replace(
        config,
        data_dir=str(Path(config.data_dir or "data/shapes").resolve()),
        labeled_list=config.labeled_list and str(Path(config.labeled_list).resolve()),
        weights=weights,
        batch_norm=batch_norm,
        learning_rate=config.learning_rate or learning_rate,
        head_learning_rate_scale=config.head_learning_rate_scale or head_scale,
        selection=config.recipe().selected_by,
        semi_start=semi_start,
        eval_every=eval_every,
        checkpoint_every=checkpoint_every,
        run_dir=config.run_dir or f"runs/{config.dataset}-{config.method}-{part}-{config.seed}",
    )
