"""Every flag of the three scripts, once. No TensorFlow here.

A value comes from the first of: the flag as given, the preset, the default below.
"""

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

from tf_advseg import flags, registry
from tf_advseg.errors import InputError
from tf_advseg.flags import (
    boolean,
    choice,
    flag,
    integer,
    name,
    number,
    numbers,
    one_of,
    size,
    switch,
    text,
)
from tf_advseg.presets import PRESETS
from tf_advseg.recipe import Recipe

#: Files of a run folder: every resolved value, the classes, the labeled and unlabeled ids.
CONFIG_FILE, CLASSES_FILE, SPLIT_FILE = "config.json", "classes.json", "split.json"

#: Below it, both networks end in strided convolutions of a single pixel. TensorFlow's CPU build
#: reads memory that nobody wrote in their bfloat16 kernel gradients, at times a NaN.
MIN_CROP_SIZE = 17

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The flags of train.py. None means: derived from other values by `resolve`, or not set."""

    preset: str | None = flag(
        None,
        choice(PRESETS),
        "named set of values, which any other flag overrides [demo for shapes, else default]",
    )
    dataset: str = flag("shapes", choice(registry.DATASETS), "data set", group="data")
    data_dir: str | None = flag(
        None, text(), "the data set's folder [shapes: data/shapes, made if missing]", group="data"
    )
    labeled_fraction: float = flag(
        1.0, number(0, 1, above=True), "share of the training images used as labeled", group="data"
    )
    labeled_list: str | None = flag(
        None, text(), "file of labeled ids, one a line, instead of a fraction", group="data"
    )
    train_split: str = flag("train", name(), "list of training images", group="data")
    val_split: str = flag("val", name(), "list of validation images", group="data")
    batch_size: int = flag(
        8, integer(1), "labeled images in a step, and again as many unlabeled ones", group="data"
    )
    crop_size: tuple[int, int] = flag(
        (321, 321), size(MIN_CROP_SIZE), "training crop", group="data"
    )
    input_scale: float = flag(
        1.0, number(0, 4, above=True), "resize every image by this first", group="data"
    )
    random_scale: tuple[float, float] = flag(
        (0.5, 1.5), numbers(2), "range of the random scale of a training image", group="data"
    )
    random_flip: bool = flag(True, boolean(), "mirror half of the training images", group="data")

    backbone: str = flag("small", choice(registry.BACKBONES), "feature network", group="model")
    head: str = flag("deeplabv2", choice(registry.HEADS), "features to logits", group="model")
    output_stride: int = flag(8, one_of((8, 16, 32)), "input pixels for one feature", group="model")
    weights: str = flag(
        "none",
        text(),
        "none, imagenet (Keras' own, downloaded once), or a Keras .h5 weights FILE of the backbone",
        group="model",
    )
    discriminator_channels: int = flag(
        64,
        integer(1),
        "of the discriminator's first layer; each further one doubles",
        group="model",
    )
    spectral_norm: bool = flag(
        False, boolean(), "spectral normalisation of the discriminator", group="model"
    )

    method: str = flag("semi", choice(registry.METHODS), "which losses are used", group="method")
    lambda_adv: float = flag(
        Recipe.lambda_adv, number(0), "weight of L_adv on labeled images", group="method"
    )
    lambda_adv_unlabeled: float = flag(
        Recipe.lambda_adv_unlabeled, number(0), "the same on unlabeled images", group="method"
    )
    lambda_semi: float = flag(Recipe.lambda_semi, number(0), "weight of L_semi", group="method")
    t_semi: float = flag(
        Recipe.t_semi,
        number(0, 1),
        "confidence above which an unlabeled pixel is selected",
        group="method",
    )
    semi_start: int | None = flag(
        None, integer(0), "first step with L_semi [a quarter of --steps]", group="method"
    )

    steps: int = flag(10000, integer(1), "training steps", group="optimizers")
    learning_rate: float | None = flag(
        None,
        number(0, above=True),
        "of the segmenter (SGD) [0.1 from scratch, 2.5e-4 with pretrained weights]",
        group="optimizers",
    )
    discriminator_learning_rate: float = flag(
        1e-4, number(0, above=True), "of the discriminator (Adam)", group="optimizers"
    )
    head_learning_rate_scale: float | None = flag(
        None,
        number(0, above=True),
        "the head's rate, in the backbone's [0.1 from scratch, 10 with pretrained weights]",
        group="optimizers",
    )
    momentum: float = flag(0.9, number(0, 1), "of SGD", group="optimizers")
    nesterov: bool = flag(True, boolean(), "Nesterov's momentum", group="optimizers")
    weight_decay: float = flag(
        Recipe.weight_decay, number(0), "L2 penalty of the segmenter", group="optimizers"
    )
    poly_power: float = flag(
        0.9, number(0), "learning rate: (1 - step / steps) to this power", group="optimizers"
    )
    precision: str | None = flag(
        None,
        choice(PRECISIONS),
        "arithmetic [mixed_float16 on a GPU, else float32]",
        group="optimizers",
    )
    seed: int = flag(0, integer(0, 2**31 - 1), "of all randomness", group="run")
    eval_every: int | None = flag(
        None, integer(1), "steps between validations [a tenth of --steps]", group="run"
    )
    checkpoint_every: int | None = flag(
        None, integer(1), "steps between checkpoints [as --eval_every]", group="run"
    )
    run_dir: str | None = flag(
        None, text(), "folder of this run [runs/DATASET-METHOD-FRACTION-SEED]", group="run"
    )
    resume: bool = flag(False, switch(), "go on with the run in --run_dir", group="run")

    def recipe(self) -> Recipe:
        """Returns what a step computes: this configuration's weights under its method."""
        names = [f.name for f in dataclasses.fields(Recipe)]
        weights = Recipe(**{name: getattr(self, name) for name in names})
        return registry.load(registry.METHODS, self.method)(weights)


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """The flags of evaluate.py."""

    run_dir: str | None = flag(None, text(), "folder of the run")
    checkpoint: str = flag("last", text(), "last, best, or a checkpoint's path")
    saved_model: str | None = flag(None, text(), "evaluate this export instead of a checkpoint")
    data_dir: str | None = flag(None, text(), "the data set's folder, if it moved")
    split: str | None = flag(None, name(), "list of images [the run's validation list]")
    scales: tuple[float, ...] = flag((1.0,), numbers(), "average over these input scales")
    flip: bool = flag(False, switch(), "average with the mirrored image")
    sliding_window: tuple[int, int] | None = flag(
        None, size(), "predict in windows of this size, in pixels of the scaled image"
    )
    images: str | None = flag(None, text(), "segment the images in this folder (no labels)")
    save_masks: str | None = flag(None, text(), "write predictions as indexed PNG here")


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The flags of export.py."""

    run_dir: str | None = flag(None, text(), "folder of the run")
    checkpoint: str = flag("last", text(), "last, best, or a checkpoint's path")
    output: str | None = flag(None, text(), "folder that the numbered version is written into")


def stored_config(run_dir: Path) -> TrainConfig:
    """Returns the configuration of a run, from its folder.

    Raises:
      InputError: the folder holds no run, or its configuration is wrong.
    """
    return TrainConfig(**flags.values_from_json(TrainConfig, run_dir / CONFIG_FILE))


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
    if config.images:
        _refuse_beside("images", given, ("split", "data_dir"))
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


def _require_run(run_dir: Path) -> None:
    if not (run_dir / CONFIG_FILE).is_file():
        raise InputError(f"--run_dir {run_dir} holds no run: no {CONFIG_FILE}; train one first")


#: What a resumed run may do otherwise than it began; anything else would be another run.
CHANGEABLE = {"data_dir", "steps", "eval_every", "checkpoint_every", "run_dir", "resume"}


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
        if run_dir.is_file() or (run_dir.is_dir() and any(run_dir.iterdir())):
            raise InputError(f"--run_dir {run_dir} holds other files; allowed: a new folder")
        return resolve(given)
    if not given.get("resume"):
        raise InputError(
            f"--run_dir {run_dir} holds a run; go on with it by --resume, or choose another folder"
        )
    stored = {**flags.values_from_json(TrainConfig, run_dir / CONFIG_FILE), "run_dir": str(run_dir)}
    config, before = resolve(given, stored), resolve({}, stored)
    for key in sorted(set(given) - CHANGEABLE):
        # Compared as resolved: a list's path is stored absolute, but may be given relative again.
        if getattr(config, key) != getattr(before, key):
            was = flags.to_text(getattr(before, key))
            raise InputError(
                f"--{key} was {was} in {run_dir}; a resumed run cannot change it, "
                "so choose another --run_dir"
            )
    return config


def _describe_presets() -> str:
    lines = ["presets, where they differ from the defaults in brackets:"]
    for preset, values in PRESETS.items():
        shown = " ".join(f"--{key} {flags.to_text(value)}" for key, value in values.items())
        text = f"{preset}: {shown or 'the defaults'}"
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
    preset = given.get("preset")
    if preset is None:
        preset = "demo" if given.get("dataset", "shapes") == "shapes" else "default"
    values = {**PRESETS[preset], **given, "preset": preset}
    # runs/demo is for the demo as it is; a run with settings of its own is named after them.
    if set(given) - {"resume", "preset"} and "run_dir" not in given:
        values["run_dir"] = None
    config = _derive(TrainConfig(**values))
    # Only here: a run that is resumed has its weights in its checkpoint.
    if config.weights == "imagenet" and config.backbone not in registry.IMAGENET:
        known = ", ".join(registry.IMAGENET)
        raise InputError(
            f"--weights imagenet: there are none for {config.backbone}; allowed: {known}"
        )
    if config.weights not in ("none", "imagenet") and not Path(config.weights).is_file():
        raise InputError(f"--weights is {config.weights!r}; allowed: none, imagenet, or a file")
    return config


def _derive(config: TrainConfig) -> TrainConfig:
    """Fills in the values that follow from others, and checks them against each other."""
    if config.random_scale[0] > config.random_scale[1]:
        raise InputError(f"--random_scale is {config.random_scale}; allowed: smaller, larger")
    if config.data_dir is None and config.dataset != "shapes":
        raise InputError(f"--dataset {config.dataset} needs --data_dir")
    part = "list" if config.labeled_list else f"{config.labeled_fraction:g}"
    # Measured for the small backbone from scratch, whose head needs a lower rate than the rest. The
    # others are the paper's rate, and the head's of DeepLab and the authors' code.
    learning_rate, head_scale = (0.1, 0.1) if config.weights == "none" else (2.5e-4, 10.0)
    eval_every = config.eval_every or max(1, config.steps // 10)
    semi_start = config.steps // 4 if config.semi_start is None else config.semi_start
    return dataclasses.replace(
        config,
        data_dir=str(Path(config.data_dir or "data/shapes").resolve()),
        labeled_list=config.labeled_list and str(Path(config.labeled_list).resolve()),
        learning_rate=config.learning_rate or learning_rate,
        head_learning_rate_scale=config.head_learning_rate_scale or head_scale,
        semi_start=semi_start,
        eval_every=eval_every,
        checkpoint_every=config.checkpoint_every or eval_every,
        run_dir=config.run_dir or f"runs/{config.dataset}-{config.method}-{part}-{config.seed}",
    )
