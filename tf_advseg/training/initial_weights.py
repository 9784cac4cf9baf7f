"""What a run starts from: random weights, ImageNet's, or those of a file of some kind.

`look` tells before the networks are built what the weights want of them: the form of the ResNet
and the colours. `load` puts them in.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import keras

from tf_advseg import registry
from tf_advseg.config import BEST, CHECKPOINTS, CONFIG_FILE, stored_config
from tf_advseg.errors import InputError
from tf_advseg.models import pretrained, torch_weights
from tf_advseg.models.conventions import RESNET_STYLES
from tf_advseg.models.heads import HEAD_PREFIX
from tf_advseg.models.torch_file import read_torch_file
from tf_advseg.saved_run import load_run
from tf_advseg.train_options import TrainConfig


@dataclasses.dataclass(frozen=True)
class InitialWeights:
    """Weights that were found, and what they want.

    Attributes:
      kind: "none", "imagenet", "keras" (an .h5 file), "run" or "torch".
      style: the ResNet's, a name in `conventions.RESNET_STYLES`.
      normalization: the colours, a name in `conventions.NORMALIZATIONS`; None if any will do.
      state: of kind "torch", the tensors.
      run: of kind "run", its folder and checkpoint.
    """

    kind: str
    style: str
    normalization: str | None
    state: Mapping = dataclasses.field(default_factory=dict)
    run: tuple[Path, str] | None = None


def look(config: TrainConfig) -> InitialWeights:
    """Finds out what `config.weights` is.

    Raises:
      InputError: it cannot be read, or does not fit what else is asked for.
    """
    found = _find(config)
    if config.backbone_style not in (None, found.style) and found.kind != "none":
        raise InputError(
            f"--backbone_style is {config.backbone_style}, but --weights {config.weights} is of "
            f"{found.style}; allowed: leave it out"
        )
    return found


def _find(config: TrainConfig) -> InitialWeights:
    styled = config.backbone in registry.STYLED
    keras_normalization = RESNET_STYLES["keras"].normalization if styled else "imagenet"
    if config.weights == "none":
        return InitialWeights("none", config.backbone_style or "keras", None)
    if config.weights == "imagenet":
        return InitialWeights("imagenet", "keras", keras_normalization)
    path = Path(config.weights)
    if (run := _run_of(path)) is not None:
        return _look_at_run(config, *run)
    if path.is_dir():
        raise InputError(f"--weights {path} is a folder without {CONFIG_FILE}; allowed: a run's")
    if not path.is_file():
        raise InputError(f"--weights {path} is gone; allowed: an existing file or run")
    if pretrained.is_keras_file(path):
        return InitialWeights("keras", "keras", keras_normalization)
    return _look_at_torch(config, path)


def _run_of(path: Path) -> tuple[Path, str] | None:
    """Returns the run's folder and checkpoint that a path stands for, if it does."""
    if (path / CONFIG_FILE).is_file():
        return path, "last"
    for folder in (path, *path.parents[:2]):
        if folder.name == CHECKPOINTS and (folder.parent / CONFIG_FILE).is_file():
            names = {folder: "last", folder / BEST: "best"}
            return folder.parent, names.get(path, str(path))
    return None


def _look_at_run(config: TrainConfig, run_dir: Path, checkpoint: str) -> InitialWeights:
    trained = stored_config(run_dir)
    if trained.backbone != config.backbone:
        raise InputError(
            f"--weights {run_dir} has the backbone {trained.backbone}; "
            f"allowed: --backbone {trained.backbone}"
        )
    return InitialWeights(
        "run", trained.backbone_style, trained.normalization, run=(run_dir, checkpoint)
    )


def _look_at_torch(config: TrainConfig, path: Path) -> InitialWeights:
    try:
        state = read_torch_file(path)
    except InputError as error:
        raise InputError(
            f"cannot load --weights: {error}; or a Keras .h5 file, or a run's folder"
        ) from None
    if config.backbone not in registry.STYLED:
        known = ", ".join(registry.STYLED)
        raise InputError(
            f"--weights {path} is PyTorch's, which there is no reading into {config.backbone}; "
            f"allowed: --backbone {known}"
        )
    style = torch_weights.style_of(state) or config.backbone_style
    if style in (None, "keras"):
        raise InputError(
            f"--weights {path} has neither layer5 (DeepLab) nor fc (torchvision); "
            "say by --backbone_style which ResNet it is: deeplab or torchvision"
        )
    normalization = torch_weights.normalization_of(state, style)
    return InitialWeights("torch", style, normalization, state)


def load(
    segmenter: keras.Model, config: TrainConfig, weights: InitialWeights, names: tuple[str, ...]
) -> list[str]:
    """Puts the weights into a segmenter that was built as they want it.

    Args:
      segmenter: of the run that begins.
      config: of that run.
      weights: from `look`.
      names: of its classes.

    Returns:
      what to tell: what was loaded, and what was left out.

    Raises:
      InputError: they do not fit, or cannot be fetched.
    """
    if weights.kind == "none":
        return []
    if weights.kind == "torch":
        left_out = _load_torch(segmenter, config, weights.state)
    elif weights.kind == "run":
        left_out = _load_run(segmenter, config, weights.run, names)
    else:
        left_out = pretrained.load_weights(segmenter, config.backbone, config.weights)
    lines = [f"weights of {config.backbone} from {config.weights}"]
    return [*lines, f"left out: {_summary(left_out)}"] if left_out else lines


def _load_torch(segmenter: keras.Model, config: TrainConfig, state: Mapping) -> list[str]:
    try:
        return torch_weights.load_state(segmenter, config.backbone, config.head_dilations, state)
    except InputError as error:
        raise InputError(f"cannot load --weights {config.weights}: {error}") from None


def _load_run(
    segmenter: keras.Model, config: TrainConfig, run: tuple[Path, str], names: tuple[str, ...]
) -> list[str]:
    """Copies a run's backbone, and its head if that is the same head for the same classes."""
    saved = load_run(*run)
    source = saved.segmenter
    pretrained.copy_layers(source.get_layer(config.backbone), segmenter.get_layer(config.backbone))
    left_out = [] if saved.discriminator is None else [saved.discriminator.name]
    head, own_head = _head_layers(source), _head_layers(segmenter)
    if saved.classes.names != names or set(head) != set(own_head):
        return [*head, *left_out]
    for name, layer in head.items():
        own_head[name].set_weights(layer.get_weights())
    return left_out


def _head_layers(segmenter: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns the layers of the head that have weights, by name."""
    layers = [layer for layer in segmenter.layers if layer.name.startswith(HEAD_PREFIX)]
    return {layer.name: layer for layer in layers if layer.weights}


def _summary(names: list[str]) -> str:
    """Returns the names, with the many counters of batch norm as one."""
    counters = [name for name in names if name.endswith(torch_weights.COUNTER)]
    others = [name for name in names if not name.endswith(torch_weights.COUNTER)]
    if counters:
        others.append(f"{len(counters)} {torch_weights.COUNTER}")
    return ", ".join(others)
