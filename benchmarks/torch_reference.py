"""The method in plain PyTorch: the numerical oracle of the TensorFlow code, and a specification.

Hung et al., "Adversarial Learning for Semi-Supervised Semantic Segmentation", 2018
(arXiv 1802.07934); where the paper is silent, the authors' code (hfslyc/AdvSemiSeg).

    python -m benchmarks.torch_reference --output tests/golden     writes the golden numbers
"""

import argparse
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import reference_case
from benchmarks.reference_case import CASES, VOID

# name -> (channel order, mean, standard deviation), in that order of channels, for RGB of 0-255.
NORMALIZATIONS = {
    "caffe": ([2, 1, 0], [103.939, 116.779, 123.68], [1.0, 1.0, 1.0]),
    "deeplab": ([2, 1, 0], [104.00698793, 116.66876762, 122.67891434], [1.0, 1.0, 1.0]),
    "authors": ([0, 1, 2], [122.67891434, 116.66876762, 104.00698793], [1.0, 1.0, 1.0]),
    "imagenet": ([0, 1, 2], [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
}


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with batch norm, and a shortcut (He et al. 2015, figure 5).

    strides: of the first 1x1 and of the 3x3 convolution.
    """

    def __init__(self, inputs, width, strides, dilation, project):
        super().__init__()
        first, second = strides
        self.conv1 = nn.Conv2d(inputs, width, 1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        spatial = {"stride": second, "padding": dilation, "dilation": dilation}
        self.conv2 = nn.Conv2d(width, width, 3, **spatial, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if project:
            conv = nn.Conv2d(inputs, 4 * width, 1, stride=first * second, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * width))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class AtrousHead(nn.Module):
    """Sum of 3x3 convolutions of several dilations (DeepLab-v2's ASPP-L without hidden layers)."""

    def __init__(self, inputs, num_classes, dilations):
        super().__init__()
        self.conv2d_list = nn.ModuleList(
            nn.Conv2d(inputs, num_classes, 3, padding=d, dilation=d) for d in dilations
        )

    def forward(self, x):
        return sum(convolution(x) for convolution in self.conv2d_list)


class Segmenter(nn.Module):
    """DeepLab-v2 on ResNet, output stride 8. Parameters have the authors' names.

    Input: RGB images [B, H, W, 3], 0-255. Output: logits [B, num_classes, H, W].

    style "deeplab" (the authors'): a stage strides in its first 1x1 convolution; all 3x3
    convolutions of layer3 and layer4 are dilated 2 and 4; the max pool rounds sizes up.
    style "torchvision": a stage strides in its first 3x3 convolution. A 3x3 that loses its stride
    to dilation comes before the lost stride, so it keeps the dilation of the stage before.

    batch_norm "train": batch statistics, everything learns. "frozen": running statistics, nothing
    of it learns or changes. "frozen_affine" (the authors'): batch statistics, running ones are
    updated, weight and bias do not learn.
    """

    def __init__(
        self,
        num_classes,
        blocks=(3, 4, 23, 3),
        *,
        style="deeplab",
        dilations=(6, 12, 18, 24),
        align_corners=False,
        batch_norm="train",
        normalization="caffe",
    ):
        super().__init__()
        assert style in ("deeplab", "torchvision")
        assert batch_norm in ("train", "frozen", "frozen_affine")
        self.align_corners, self.batch_norm = align_corners, batch_norm
        self.channel_order, self.mean, self.deviation = NORMALIZATIONS[normalization]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.max_pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=style == "deeplab")
        inputs, previous = 64, 1
        stages = zip(blocks, (64, 128, 256, 512), (1, 2, 1, 1), (1, 1, 2, 4))
        for number, (depth, width, stride, dilation) in enumerate(stages, start=1):
            strides = (stride, 1) if style == "deeplab" else (1, stride)
            first = dilation if style == "deeplab" else previous
            layers = [Bottleneck(inputs, width, strides, first, project=True)]
            inputs, previous = 4 * width, dilation
            for _ in range(1, depth):
                layers.append(Bottleneck(inputs, width, (1, 1), dilation, project=False))
            setattr(self, f"layer{number}", nn.Sequential(*layers))
        self.layer5 = AtrousHead(inputs, num_classes, dilations)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.01)
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
        mean, deviation = images.new_tensor(self.mean), images.new_tensor(self.deviation)
        x = ((images[..., self.channel_order] - mean) / deviation).permute(0, 3, 1, 2)
        x = self.max_pool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return upsample(self.layer5(x), images.shape[1:3], self.align_corners)


class Discriminator(nn.Module):
    """Fully convolutional discriminator (paper, section 3.2): probabilities to a logit map.

    Input: class probabilities or one-hot labels [B, num_classes, H, W]. Output: logits
    [B, outputs, H, W]. One output: the logit of "true". Two: of "predicted" and of "true".

    padding "one", "two": PyTorch's padding=1 and 2. "same": TensorFlow's, 1 before and
    1 + size % 2 after.
    """

    def __init__(self, num_classes, channels=64, *, outputs=1, padding="one", align_corners=False):
        super().__init__()
        assert outputs in (1, 2) and padding in ("one", "two", "same")
        self.padding, self.align_corners = padding, align_corners
        sizes = [num_classes, channels, 2 * channels, 4 * channels, 8 * channels, outputs]
        for number, (inputs, filters) in enumerate(pairwise(sizes), start=1):
            setattr(self, f"conv{number}", nn.Conv2d(inputs, filters, 4, stride=2))

    def forward(self, probabilities):
        x = probabilities
        for number in range(1, 6):
            odd = [size % 2 if self.padding == "same" else 0 for size in x.shape[2:]]
            pad = 2 if self.padding == "two" else 1
            x = F.pad(x, (pad, pad + odd[1], pad, pad + odd[0]))
            x = getattr(self, f"conv{number}")(x)
            if number < 5:
                x = F.leaky_relu(x, 0.2)
        return upsample(x, probabilities.shape[2:], self.align_corners)


def upsample(x, size, align_corners):
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)


def confidence(logits):
    """D's probability of "true" [B, H, W], of its logits [B, 1 or 2, H, W]."""
    return logits.softmax(1)[:, 1] if logits.shape[1] == 2 else logits[:, 0].sigmoid()


def masked_mean(values, mask):
    """Mean of values [B, H, W] where mask is true; 0 if it is nowhere."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def segmentation_loss(logits, labels, mask):
    """Mean cross-entropy of logits [B, C, H, W] and labels [B, H, W] (paper, equation 3)."""
    # Labels outside the mask may be void, which is no class: any class will do for them.
    return masked_mean(F.cross_entropy(logits, labels.where(mask, 0), reduction="none"), mask)


def discriminator_loss(logits, target, mask):
    """Mean binary cross-entropy of D's logits and one target for all pixels (equations 2 and 4)."""
    if logits.shape[1] == 2:
        predicted, true = F.log_softmax(logits, 1).unbind(1)
    else:
        predicted, true = F.logsigmoid(-logits[:, 0]), F.logsigmoid(logits[:, 0])
    return masked_mean(-target * true - (1 - target) * predicted, mask)


@dataclass(frozen=True)
class Options:
    """What differs between the paper, the authors' code and the reproduction, and the methods."""

    lambda_adv: float = 0.01
    lambda_adv_unlabeled: float = 0.001
    lambda_semi: float = 0.1
    t_semi: float = 0.2
    semi_start: int = 0  # the first step with L_semi
    label_smoothing: float = 0.0  # D's target for the truth is 1 minus this
    unlabeled_fakes: bool = False  # D's fakes: also the predictions for unlabeled images
    discriminator_loss_scale: float = 1.0
    mixing: str = "one_batch"  # or "separate": S sees the unlabeled images first, then the labeled
    learning_rate: float = 2.5e-4
    head_learning_rate_scale: float = 10.0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4  # L2, of all that learns in S
    discriminator_optimizer: str = "adam"  # or "sgd"
    discriminator_learning_rate: float = 1e-4
    discriminator_weight_decay: float = 1e-4  # for "sgd" only

    @property
    def uses_unlabeled(self):
        return bool(self.lambda_adv_unlabeled or self.lambda_semi or self.unlabeled_fakes)

    @property
    def uses_discriminator(self):
        return bool(self.lambda_adv or self.uses_unlabeled)


def baseline(options):
    """Cross-entropy on labeled images alone."""
    return replace(adv(options), lambda_adv=0.0)


def adv(options):
    """And the adversarial loss on labeled images."""
    return replace(options, lambda_adv_unlabeled=0.0, lambda_semi=0.0, unlabeled_fakes=False)


def semi(options):
    """And the adversarial and the semi-supervised loss on unlabeled images."""
    return options


METHODS = {"baseline": baseline, "adv": adv, "semi": semi}


class Trainer:
    """One training step after the other (paper, algorithm in section 3.3), at constant rates."""

    def __init__(self, segmenter, discriminator, options):
        self.segmenter, self.options, self.steps = segmenter, options, 0
        self.discriminator = D = discriminator if options.uses_discriminator else None
        # Of the last step, for inspection: {network: logits for the labeled images}, and, before
        # weight decay and the head's factor, {network: {name: gradient}}.
        self.logits, self.gradients = {}, {}
        learning = [(n, p) for n, p in segmenter.named_parameters() if p.requires_grad]
        backbone = [p for n, p in learning if not n.startswith("layer5.")]
        head = [p for n, p in learning if n.startswith("layer5.")]
        rate, decay = options.learning_rate, options.weight_decay
        groups = [{"params": backbone}, {"params": head}]
        groups[1]["lr"] = rate * options.head_learning_rate_scale
        momentum = {"momentum": options.momentum, "nesterov": options.nesterov}
        self.optimizers = [torch.optim.SGD(groups, lr=rate, weight_decay=decay, **momentum)]
        if D is not None:
            make, values = torch.optim.Adam, {"betas": (0.9, 0.99)}
            if options.discriminator_optimizer == "sgd":
                make, values = torch.optim.SGD, {"momentum": 0.5, "nesterov": True}
                values["weight_decay"] = options.discriminator_weight_decay
            rate = options.discriminator_learning_rate
            self.optimizers.append(make(D.parameters(), lr=rate, **values))

    def forward(self, images, unlabeled_images):
        """Logits of the labeled and the unlabeled images (None without); batch norm sees these."""
        if not self.options.uses_unlabeled:
            return self.segmenter(images), None
        if self.options.mixing == "separate":
            unlabeled = self.segmenter(unlabeled_images)
            return self.segmenter(images), unlabeled
        assert self.options.mixing == "one_batch"
        both = self.segmenter(torch.cat([images, unlabeled_images]))
        return both.split([len(images), len(unlabeled_images)])

    def step(self, batch):
        """Learn from a batch (reference_case.batch): {name: value} of the losses, as floats.

        cross_entropy, adversarial_labeled, adversarial_unlabeled and semi_supervised are not yet
        weighted; loss is their weighted sum; discriminator is as D learns from it;
        selected_fraction is the share of the valid unlabeled pixels that L_semi uses. Only those
        that the options use.
        """
        options, D = self.options, self.discriminator
        dtype = self.segmenter.conv1.weight.dtype
        images = torch.as_tensor(batch["labeled_images"]).to(dtype)
        unlabeled_images = torch.as_tensor(batch["unlabeled_images"]).to(dtype)
        labels = torch.as_tensor(batch["labels"]).long()
        counts = labels != VOID
        valid = torch.as_tensor(batch["valid"])

        logits, unlabeled_logits = self.forward(images, unlabeled_images)
        probabilities = logits.softmax(1)
        losses = {"cross_entropy": segmentation_loss(logits, labels, counts)}
        weights = {"cross_entropy": 1.0}
        if options.lambda_adv:
            losses["adversarial_labeled"] = discriminator_loss(D(probabilities), 1.0, counts)
            weights["adversarial_labeled"] = options.lambda_adv
        if options.uses_unlabeled:
            unlabeled_probabilities = unlabeled_logits.softmax(1)
            judged = D(unlabeled_probabilities)
        if options.lambda_adv_unlabeled:
            losses["adversarial_unlabeled"] = discriminator_loss(judged, 1.0, valid)
            weights["adversarial_unlabeled"] = options.lambda_adv_unlabeled
        if options.lambda_semi:
            # Neither the mask nor the pseudo-label passes a gradient (equation 5).
            selected = (confidence(judged.detach()) > options.t_semi) & valid
            own = unlabeled_logits.detach().argmax(1)
            losses["semi_supervised"] = segmentation_loss(unlabeled_logits, own, selected)
            losses["selected_fraction"] = selected.sum() / valid.sum().clamp(min=1)
            if self.steps >= options.semi_start:
                weights["semi_supervised"] = options.lambda_semi
        loss = losses["loss"] = sum(weight * losses[name] for name, weight in weights.items())

        self.logits = {"segmenter": logits.detach()}
        learned = {"segmenter": (self.segmenter, loss)}
        if D is not None:
            fakes, counted = probabilities.detach(), counts
            if options.unlabeled_fakes:
                fakes = torch.cat([fakes, unlabeled_probabilities.detach()])
                counted = torch.cat([counted, valid])
            # Void is no class: all zeros.
            classes = torch.arange(logits.shape[1])[:, None, None]
            truth = (labels[:, None] == classes).to(dtype)
            fake_logits = D(fakes)
            self.logits["discriminator"] = fake_logits[: len(logits)].detach()
            losses["discriminator"] = options.discriminator_loss_scale * (
                discriminator_loss(fake_logits, 0.0, counted)
                + discriminator_loss(D(truth), 1.0 - options.label_smoothing, counts)
            )
            learned["discriminator"] = (D, losses["discriminator"])

        # All gradients before any step. Each network's own loss alone reaches its parameters.
        for network, (module, own_loss) in learned.items():
            named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
            gradients = torch.autograd.grad(own_loss, [p for _, p in named])
            self.gradients[network] = {n: g for (n, _), g in zip(named, gradients)}
            for (_, parameter), gradient in zip(named, gradients):
                parameter.grad = gradient.clone()  # the optimizer adds weight decay in place
        for optimizer in self.optimizers:
            optimizer.step()
        self.steps += 1
        return {name: value.item() for name, value in losses.items()}


def build(case, dtype=torch.float32):
    """The trainer of one of CASES, with its initial weights."""
    networks = {
        "segmenter": Segmenter(case["num_classes"], **case["segmenter"]),
        "discriminator": Discriminator(case["num_classes"], **case["discriminator"]),
    }
    for network, module in networks.items():
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        for name, array in reference_case.fill_case(case, network, shapes).items():
            module.state_dict()[name].copy_(torch.from_numpy(array))
        module.to(dtype)
    return Trainer(**networks, options=METHODS[case["method"]](Options(**case["options"])))


def state(trainer):
    """{network: {name: array}} of parameters and buffers, without batch norm's batch counter."""
    networks = {"segmenter": trainer.segmenter, "discriminator": trainer.discriminator}
    return {
        network: {n: t.numpy().copy() for n, t in module.state_dict().items() if t.ndim}
        for network, module in networks.items()
        if module is not None
    }


def run(case, dtype=torch.float32, summarize=reference_case.sketch):
    """The numbers of a case, as reference_case.entries has them."""
    trainer = build(case, dtype)
    before = state(trainer)
    losses = [trainer.step(reference_case.case_batch(case, 0))]
    logits = {n: t.permute(0, 2, 3, 1).numpy() for n, t in trainer.logits.items()}
    gradients = {k: {n: t.numpy() for n, t in v.items()} for k, v in trainer.gradients.items()}
    for step in range(1, reference_case.STEPS):
        losses.append(trainer.step(reference_case.case_batch(case, step)))
    return reference_case.entries(logits, gradients, losses, before, state(trainer), summarize)


def main():
    parser = argparse.ArgumentParser(description="Write the golden numbers of the cases.")
    parser.add_argument("--output", type=Path, required=True, help="folder of the .npz files")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums in another order have other last digits
    for name, case in CASES.items():
        reference_case.save(output / f"{name}.npz", run(case))


if __name__ == "__main__":
    main()
