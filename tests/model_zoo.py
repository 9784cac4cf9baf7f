"""Every registered backbone and head, as parameters of tests.

A new part is tested when its registry line is there. Networks are built once for each set of tests.
"""

import numpy as np
import pytest

from tf_advseg import registry
from tf_advseg.models.backbones import BackboneOptions

#: Trained from scratch in seconds: whatever is tested is tested in the fast suite.
LIGHT = ("small",)
#: Two others with more blocks: whatever is tested is slow.
HEAVY = ("resnet101", "densenet169")
#: Slow to build: fast by itself, and slow with each head and at a second stride.
SLOW_TO_BUILD = (*HEAVY, "densenet121")


def backbones(fast):
    """All of them, those for which `fast` is false as slow tests."""
    return [
        pytest.param(name, marks=[] if fast(name) else [pytest.mark.slow], id=name)
        for name in registry.BACKBONES
    ]


def pairs(fast):
    return [
        pytest.param((*backbone.values, head), marks=backbone.marks, id=f"{backbone.id}-{head}")
        for backbone in backbones(fast)
        for head in registry.HEADS
    ]


def once(name, values):
    """Parametrizes a fixture of the module: tests with one value run together."""
    return pytest.mark.parametrize(name, values, indirect=True, scope="module")


def is_light(name):
    return name in LIGHT


def is_not_heavy(name):
    return name not in HEAVY


def is_quick(name):
    return name not in SLOW_TO_BUILD


every_pair = once("pair", pairs(is_quick))
every_pair_costly = once("pair", pairs(is_light))
every_backbone = once("strided", backbones(is_not_heavy))
every_backbone_quick = once("strided", backbones(is_quick))
every_backbone_costly = once("strided", backbones(is_light))


def backbone_of(name, output_stride, batch_norm="train"):
    return registry.load(registry.BACKBONES, name)(BackboneOptions(output_stride, batch_norm))


def picture(height, width, batch=1, seed=0):
    generator = np.random.default_rng(seed)
    return generator.uniform(0, 255, (batch, height, width, 3)).astype(np.float32)
