"""A PyTorch twin of the backbone `small`, with the reference's head.

Parameters have torchvision's names: `stage2` is layer1, up to `stage5`, layer4.
"""

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_reference import NORMALIZATIONS, AtrousHead, upsample

_EPSILON, _MOMENTUM = 1e-3, 0.03  # Keras' default, and its momentum of 0.97 in PyTorch's terms.
_STEM = 32
#: Of each stage: channels, blocks, stride, and the dilation of its first convolution and the rest.
_STAGES = ((48, 1, 2, 1, 1), (96, 2, 2, 1, 1), (128, 2, 1, 1, 2), (192, 2, 1, 2, 4))


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, which is not symmetric where it strides."""

    def forward(self, x):
        if self.stride == (1, 1):
            return super().forward(x)
        (top, bottom), (left, right) = (
            self._padding(size, axis) for axis, size in enumerate(x.shape[2:])
        )
        return super().forward(F.pad(x, (left, right, top, bottom)))

    def _padding(self, size, axis):
        stride, kernel = self.stride[axis], self.kernel_size[axis]
        total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        return total // 2, total - total // 2


def convolution(inputs, filters, kernel, stride=1, dilation=1):
    padding = dilation * (kernel // 2) if stride == 1 else 0
    return SameConv2d(
        inputs, filters, kernel, stride, padding=padding, dilation=dilation, bias=False
    )


def normalization(channels):
    return nn.BatchNorm2d(channels, eps=_EPSILON, momentum=_MOMENTUM)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: a 1x1 convolution where the shape changes."""

    def __init__(self, inputs, channels, stride, dilations, project):
        super().__init__()
        first, second = dilations
        self.conv1 = convolution(inputs, channels, 3, stride, first)
        self.bn1 = normalization(channels)
        self.conv2 = convolution(channels, channels, 3, 1, second)
        self.bn2 = normalization(channels)
        self.downsample = None
        if project:
            projection = convolution(inputs, channels, 1, stride)
            self.downsample = nn.Sequential(projection, normalization(channels))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class SmallSegmenter(nn.Module):
    """RGB images [B, H, W, 3], 0-255 -> logits [B, num_classes, H, W], at output stride 8.

    Batch norm as in `torch_reference.Segmenter`.
    """

    def __init__(self, num_classes, *, batch_norm="train", dilations=(6, 12, 18, 24)):
        super().__init__()
        assert batch_norm in ("train", "frozen", "frozen_affine")
        self.batch_norm, self.align_corners = batch_norm, False
        self.channel_order, self.mean, self.deviation = NORMALIZATIONS["imagenet"]
        self.conv1 = convolution(3, _STEM, 3, 2)
        self.bn1 = normalization(_STEM)
        inputs = _STEM
        for number, (channels, depth, stride, first, rest) in enumerate(_STAGES, start=1):
            stage = [ResidualBlock(inputs, channels, stride, (first, rest), project=True)]
            for _ in range(1, depth):
                stage.append(ResidualBlock(channels, channels, 1, (rest, rest), project=False))
            setattr(self, f"layer{number}", nn.Sequential(*stage))
            inputs = channels
        self.layer5 = AtrousHead(inputs, num_classes, dilations)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and batch_norm != "train":
                module.requires_grad_(False)
        self.train()

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(mode and self.batch_norm != "frozen")
        return self

    def forward(self, images):
        mean, deviation = torch.tensor(self.mean), torch.tensor(self.deviation)
        x = ((images - mean) / deviation).permute(0, 3, 1, 2)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return upsample(self.layer5(x), images.shape[1:3], self.align_corners)
