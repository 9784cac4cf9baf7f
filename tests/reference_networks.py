"""Our networks with the weights of the reference's cases, by the reference's names."""

import numpy as np

from benchmarks import reference_case
from tf_advseg.models import backbones, torch_weights
from tf_advseg.models.segmenter import build_segmenter

DILATIONS = (6, 12, 18, 24)
BACKBONES = {
    (3, 4, 6, 3): "resnet50",
    (3, 4, 23, 3): "resnet101",
    (2, 2, 2, 2): "shallow_resnet",
}


def shallow_resnet(options):
    """A ResNet of two blocks a stage; batch statistics make deeper ones numerically chaotic."""
    return backbones._resnet("shallow_resnet", (2, 2, 2, 2), options)


def backbone_of(case):
    return BACKBONES[case["segmenter"]["blocks"]]


def case_segmenter(case):
    """The segmenter of a case, its weights loaded as from a PyTorch file."""
    segmenter = random_segmenter(case)
    state = case_state(case, segmenter)
    assert torch_weights.load_state(segmenter, backbone_of(case), dilations(case), state) == []
    return segmenter


def random_segmenter(case):
    """The segmenter of a case, with random weights."""
    options = {"normalization": "caffe", **case["segmenter"]}
    return build_segmenter(
        backbone_of(case),
        num_classes=case["num_classes"],
        backbone_style=options["style"],
        head_dilations=dilations(case),
        normalization=options["normalization"],
        batch_norm=options["batch_norm"],
        align_corners=options["align_corners"],
    )


def case_state(case, segmenter):
    """The case's initial weights, as a PyTorch state dict."""
    shapes = {name: shape_in_torch(v) for name, v in named(segmenter, case).items()}
    return reference_case.fill_case(case, "segmenter", shapes)


def dilations(case):
    return case["segmenter"].get("dilations", DILATIONS)


def named(segmenter, case):
    """The segmenter's variables by the reference's names."""
    variables = {
        torch_weights.torch_name(v.name): v for v in segmenter.get_layer(backbone_of(case)).weights
    }
    for index, dilation in enumerate(dilations(case)):
        layer = segmenter.get_layer(f"head_dilation{dilation}")
        variables[f"layer5.conv2d_list.{index}.weight"] = layer.kernel
        variables[f"layer5.conv2d_list.{index}.bias"] = layer.bias
    return variables


def shape_in_torch(variable):
    return as_torch(np.empty(variable.shape)).shape


def as_torch(value):
    value = np.asarray(value)
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
