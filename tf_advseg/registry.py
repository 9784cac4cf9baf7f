"""What can be chosen by name, and where it is.

Each registry maps a name to "module:function". It is plain text, so that flags can be checked and
`--help` can be shown without importing TensorFlow. To add a part, write its function and add its
line here.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from tf_advseg.errors import InputError

#: name -> (data_dir: Path) -> Dataset
DATASETS = {
    "shapes": "tf_advseg.data.catalog:shapes",
    "folder": "tf_advseg.data.catalog:folder",
    "voc2012": "tf_advseg.data.catalog:voc2012",
    "cityscapes": "tf_advseg.data.catalog:cityscapes",
}

#: name -> (argv: list[str]) -> None; `python -m tf_advseg.data.prepare` makes its folder
PREPARED = {
    "voc2012": "tf_advseg.data.prepare.voc2012:prepare",
    "cityscapes": "tf_advseg.data.prepare.cityscapes:prepare",
}

#: name -> (argv: list[str]) -> None; what else `python -m tf_advseg.data.prepare` does
DATA_TOOLS = {
    "check": "tf_advseg.data.prepare.check:check",
}

#: name -> (options: BackboneOptions) -> Backbone
BACKBONES = {
    "small": "tf_advseg.models.backbones:small",
    "resnet50": "tf_advseg.models.backbones:resnet50",
    "resnet101": "tf_advseg.models.backbones:resnet101",
    "densenet121": "tf_advseg.models.backbones:densenet121",
    "densenet169": "tf_advseg.models.backbones:densenet169",
}

#: backbones that a --backbone_style, and so PyTorch's weights, exist for
STYLED = ("resnet50", "resnet101")

#: backbone -> the Keras function that fetches its ImageNet weights; its layers are the backbone's
IMAGENET = {
    "resnet50": "keras.applications:ResNet50",
    "resnet101": "keras.applications:ResNet101",
    "densenet121": "keras.applications:DenseNet121",
    "densenet169": "keras.applications:DenseNet169",
}

#: name -> (features, num_classes: int, options: HeadOptions) -> logits
HEADS = {
    "deeplabv2": "tf_advseg.models.heads:deeplabv2",
    "upernet": "tf_advseg.models.upernet:upernet",
}

#: name -> (recipe: Recipe) -> Recipe with the terms that the method does not have switched off
METHODS = {
    "baseline": "tf_advseg.recipe:baseline",
    "adv": "tf_advseg.recipe:adv",
    "semi": "tf_advseg.recipe:semi",
    "teacher": "tf_advseg.recipe:teacher",
    "semi_plus": "tf_advseg.recipe:semi_plus",
}


def load(registry: Mapping[str, str], name: str) -> Callable[..., Any]:
    """Imports and returns the function registered under `name`.

    Raises:
      InputError: `name` is not in the registry.
    """
    if name not in registry:
        raise InputError(f"unknown name {name!r}; allowed: {', '.join(registry)}")
    module, function = registry[name].split(":")
    return getattr(importlib.import_module(module), function)
