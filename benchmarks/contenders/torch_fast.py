"""The reference's networks and step, as fast as plain PyTorch runs them. The numbers are its own.

What differs from `torch_reference`, none of which changes the mathematics:
- ReLU and the sum with the shortcut are in place;
- frozen batch norm may be folded into the convolution before it;
- the discriminator runs once on each of its inputs, and both networks' gradients are taken from
  that one pass;
- losses are taken over pixels in rows, which is how a channels-last map lies in memory;
- optimizers update all tensors in one call.
"""

import contextlib

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import torch_reference
from benchmarks.contenders.torch_small import SameConv2d
from benchmarks.torch_reference import VOID, upsample

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class FastSegmenter(nn.Module):
    """A segmenter of `torch_reference` or `torch_small`, by the same parameters.

    Args:
      reference: the segmenter; its tensors are changed to the layout, in place.
      layout: a name in LAYOUTS.
      fold: whether frozen batch norm is folded into convolutions.
      bfloat16: whether convolutions run in it (`torch.autocast`). Logits are float32.
    """

    def __init__(self, reference, *, layout="channels_last", fold=True, bfloat16=False):
        super().__init__()
        self.reference = reference.to(memory_format=LAYOUTS[layout])
        self._layout, self._bfloat16 = LAYOUTS[layout], bfloat16
        self._fold = fold and (reference.batch_norm == "frozen" or not reference.training)
        if self._fold:
            for norm in reference.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    fold_constants(norm)
        scale = torch.tensor(reference.deviation).reciprocal()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", -torch.tensor(reference.mean) * scale)

    def forward(self, images):
        """RGB images [B, H, W, 3], uint8 or float32 in 0-255 -> logits float32 [B, C, H, W]."""
        net = self.reference
        x = images.to(torch.float32)
        if list(net.channel_order) != [0, 1, 2]:
            x = x.flip(-1)
        x = torch.addcmul(self.shift, x, self.scale).permute(0, 3, 1, 2)
        x = x.contiguous(memory_format=self._layout)
        with autocast(self._bfloat16):
            x = self._convolve(net.conv1, net.bn1, x).relu_()
            if hasattr(net, "max_pool"):
                x = net.max_pool(x)
            for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
                for block in layer:
                    x = self._block(block, x)
            x = net.layer5(x)
        return upsample(x.float(), images.shape[1:3], net.align_corners)

    def _block(self, block, x):
        shortcut = x
        if block.downsample is not None:
            shortcut = self._convolve(*block.downsample, x)
        x = self._convolve(block.conv1, block.bn1, x).relu_()
        x = self._convolve(block.conv2, block.bn2, x)
        if hasattr(block, "conv3"):
            x = self._convolve(block.conv3, block.bn3, x.relu_())
        return x.add_(shortcut).relu_()

    def _convolve(self, conv, norm, x):
        if not self._fold:
            return norm(conv(x))
        if isinstance(conv, SameConv2d) and conv.stride != (1, 1):
            (top, bottom), (left, right) = (conv._padding(n, i) for i, n in enumerate(x.shape[2:]))
            if top == bottom and left == right:
                padding = (top, left)
            else:
                x, padding = F.pad(x, (left, right, top, bottom)), 0
        else:
            padding = conv.padding
        weight = conv.weight * norm.folded_scale
        return F.conv2d(x, weight, norm.folded_shift, conv.stride, padding, conv.dilation)


def fold_constants(norm):
    """Gives a frozen batch norm the scale and shift that it is equal to."""
    scale = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
    shift = norm.bias.detach() - norm.running_mean * scale
    norm.register_buffer("folded_scale", scale[:, None, None, None], persistent=False)
    norm.register_buffer("folded_shift", shift, persistent=False)


class FastDiscriminator(nn.Module):
    """The reference's discriminator with padding "one", by the same parameters.

    Input: probabilities [B, C, H, W]. Output: logits float32 [B, 1, H, W].
    """

    def __init__(self, reference, *, layout="channels_last", bfloat16=False):
        super().__init__()
        assert reference.padding == "one"
        self.reference = reference.to(memory_format=LAYOUTS[layout])
        self._layout, self._bfloat16 = LAYOUTS[layout], bfloat16

    def forward(self, probabilities):
        x = probabilities.contiguous(memory_format=self._layout)
        with autocast(self._bfloat16):
            for number in range(1, 6):
                conv = getattr(self.reference, f"conv{number}")
                x = F.conv2d(x, conv.weight, conv.bias, conv.stride, padding=1)
                if number < 5:
                    x = F.leaky_relu_(x, 0.2)
        return upsample(x.float(), probabilities.shape[2:], self.reference.align_corners)


class FastTrainer(torch_reference.Trainer):
    """The reference's step, for mixing "one_batch" and one output of the discriminator.

    Args:
      segmenter, discriminator: of the reference.
      options: of the reference.
      layout, fold, bfloat16: as FastSegmenter has them.
      optimizer: "fused", "foreach" or "loop", PyTorch's three ways to update many tensors.
      compiled: whether the segmenter runs through `torch.compile`.
    """

    def __init__(
        self,
        segmenter,
        discriminator,
        options,
        *,
        layout="channels_last",
        fold=True,
        bfloat16=False,
        optimizer="fused",
        compiled=False,
    ):
        assert options.mixing == "one_batch" and not options.label_smoothing
        super().__init__(segmenter, discriminator, options)
        self.fast = FastSegmenter(segmenter, layout=layout, fold=fold, bfloat16=bfloat16)
        self.judge = None
        if self.discriminator is not None:
            self.judge = FastDiscriminator(discriminator, layout=layout, bfloat16=bfloat16)
        if compiled:
            self.fast = torch.compile(self.fast)
        self._rows = layout == "channels_last"
        ways = {"fused": {"fused": True}, "foreach": {"foreach": True}, "loop": {"foreach": False}}
        for one in self.optimizers:
            for group in one.param_groups:
                group.update(foreach=None, fused=None)
                group.update(ways[optimizer])
        self._learning = [p for p in segmenter.parameters() if p.requires_grad]

    def step(self, batch):
        """As the reference's; the batch holds tensors: labels int64, images float32."""
        options = self.options
        images, labels = batch["labeled_images"], batch["labels"]
        counts = labels != VOID
        if options.uses_unlabeled:
            images = torch.cat([images, batch["unlabeled_images"]])
        logits = self.fast(images)
        labeled, unlabeled = logits[: len(labels)], logits[len(labels) :]
        losses = {"cross_entropy": self._cross_entropy(labeled, labels)}
        loss = losses["cross_entropy"]
        if options.lambda_adv:
            fakes = self.judge(self._softmax(labeled))
            losses["adversarial_labeled"] = binary_cross_entropy(fakes, 1.0, counts)
            loss = loss + options.lambda_adv * losses["adversarial_labeled"]
        if options.uses_unlabeled:
            valid = batch["valid"]
            judged = self.judge(self._softmax(unlabeled))
            losses["adversarial_unlabeled"] = binary_cross_entropy(judged, 1.0, valid)
            loss = loss + options.lambda_adv_unlabeled * losses["adversarial_unlabeled"]
            with torch.no_grad():
                selected = (judged[:, 0].sigmoid() > options.t_semi) & valid
                own = torch.where(selected, unlabeled.argmax(1), VOID)
                losses["selected_fraction"] = selected.sum() / valid.sum().clamp(min=1)
            losses["semi_supervised"] = self._cross_entropy(unlabeled, own)
            if self.steps >= options.semi_start:
                loss = loss + options.lambda_semi * losses["semi_supervised"]
        losses["loss"] = loss
        if self.judge is not None:
            self._discriminator_gradients(fakes, labels, counts, losses)
        # Last, as it frees what the forward pass has kept.
        gradients = torch.autograd.grad(loss, self._learning)
        for parameter, gradient in zip(self._learning, gradients):
            parameter.grad = gradient
        for optimizer in self.optimizers:
            optimizer.step()
        self.steps += 1
        return {name: value.item() for name, value in losses.items()}

    def _discriminator_gradients(self, fakes, labels, counts, losses):
        with torch.no_grad():
            classes = self.segmenter.layer5.conv2d_list[0].out_channels
            # Void is no class: all zeros.
            truth = F.one_hot(torch.where(counts, labels, classes), classes + 1)
            truth = truth[..., :classes].permute(0, 3, 1, 2).to(torch.float32)
        true = self.judge(truth)
        loss = binary_cross_entropy(fakes, 0.0, counts) + binary_cross_entropy(true, 1.0, counts)
        losses["discriminator"] = self.options.discriminator_loss_scale * loss
        parameters = list(self.discriminator.parameters())
        # The engine stops at these parameters: nothing flows on into the segmenter.
        gradients = torch.autograd.grad(losses["discriminator"], parameters, retain_graph=True)
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient

    def _cross_entropy(self, logits, labels):
        """Mean over the pixels that are not void, 0 if there are none; labels int64 [B, H, W]."""
        count = (labels != VOID).sum().clamp(min=1)
        if self._rows:
            logits = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
            labels = labels.flatten()
        return F.cross_entropy(logits, labels, ignore_index=VOID, reduction="sum") / count

    def _softmax(self, logits):
        if self._rows:
            return logits.permute(0, 2, 3, 1).softmax(-1).permute(0, 3, 1, 2)
        return logits.softmax(1)


def binary_cross_entropy(logits, target, mask):
    """Mean over the mask [B, H, W] of logits [B, 1, H, W] against one target."""
    logits = logits[:, 0]
    values = F.softplus(-logits) if target else F.softplus(logits)
    return (values * mask).sum() / mask.sum().clamp(min=1)


def autocast(bfloat16):
    if not bfloat16:
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)
