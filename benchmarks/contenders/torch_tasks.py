"""What the PyTorch contenders do, each in a process of its own."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import cases, torch_reference
from benchmarks.contenders.torch_fast import FastDiscriminator, FastSegmenter, FastTrainer
from benchmarks.contenders.torch_small import SmallSegmenter
from benchmarks.workers import Task

Options = Mapping[str, Any]


def step(options: Options) -> Task:
    """A training step; `options` is a case, and "variant" how it runs (`rival.Variant`)."""
    variant = options["variant"]
    _use(variant["threads"])
    segmenter, discriminator = _networks(options)
    trainer = FastTrainer(
        segmenter,
        discriminator,
        _reference_options(options),
        layout=variant["layout"],
        fold=variant["norms"] == "folded",
        bfloat16=options["precision"] == "bfloat16",
        optimizer=variant["optimizer"],
        compiled=variant["execution"] == "compiled",
    )
    batch = {name: torch.from_numpy(value) for name, value in cases.batch(options).items()}
    batch["labels"] = batch["labels"].long()
    return Task(lambda: trainer.step(batch), {"losses": trainer.step(batch)})


def reference_step(options: Options) -> Task:
    """The reference's own step, which says what the losses of a case are."""
    trainer = torch_reference.Trainer(*_networks(options), _reference_options(options))
    batch = cases.batch(options)
    return Task(lambda: trainer.step(batch), {"losses": trainer.step(batch)})


def inference(options: Options) -> Task:
    """Segments images as the exported model does.

    Args:
      options: a case of which the networks are; "size" of the image; "probabilities": the file to
        write what it says of it to; "variant".
    """
    variant = options["variant"]
    _use(variant["threads"])
    segmenter, discriminator = _networks(options)
    predict = _Predictor(
        segmenter.eval(),
        discriminator.eval(),
        layout=variant["layout"],
        fold=variant["norms"] == "folded",
        bfloat16=options["precision"] == "bfloat16",
    ).eval()
    if variant["execution"] == "compiled":
        predict = torch.compile(predict)
    image = torch.from_numpy(cases.image(options["size"]))

    @torch.inference_mode()
    def run() -> tuple[torch.Tensor, ...]:
        return predict(image)

    np.save(options["probabilities"], run()[1].numpy())
    return Task(run)


class _Predictor(nn.Module):
    """uint8 [B, H, W, 3] -> class ids int32 [B, H, W], probabilities [B, H, W, C], confidence."""

    def __init__(self, segmenter, discriminator, *, layout, fold, bfloat16):
        super().__init__()
        self.segment = FastSegmenter(segmenter, layout=layout, fold=fold, bfloat16=bfloat16)
        self.judge = FastDiscriminator(discriminator, layout=layout, bfloat16=bfloat16)

    def forward(self, image):
        probabilities = self.segment(image).permute(0, 2, 3, 1).softmax(-1)
        confidence = self.judge(probabilities.permute(0, 3, 1, 2))[:, 0].sigmoid()
        return probabilities.argmax(-1).to(torch.int32), probabilities.contiguous(), confidence


def matmul(options: Options) -> Task:
    """A product of square matrices, of "side" in "precision"."""
    _use(options["threads"])
    dtype = getattr(torch, options["precision"])
    a, b = torch.randn(2, options["side"], options["side"]).to(dtype)
    onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    threads = {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()}
    return Task(lambda: a @ b, {"onednn": onednn and onednn[1], "threads": threads})


def _use(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    # As TensorFlow's threads do: numbers that are nearly zero are slow.
    torch.set_flush_denormal(True)


def _networks(case: cases.Case) -> tuple[nn.Module, nn.Module]:
    """Returns the reference's segmenter and discriminator with the case's weights."""
    if cases.is_resnet(case):
        segmenter = torch_reference.Segmenter(
            case["num_classes"],
            cases.blocks(case),
            batch_norm=case["batch_norm"],
            normalization=cases.normalization(case),
        )
    else:
        segmenter = SmallSegmenter(case["num_classes"], batch_norm=case["batch_norm"])
    discriminator = torch_reference.Discriminator(case["num_classes"])
    for network, module in (("segmenter", segmenter), ("discriminator", discriminator)):
        state = module.state_dict()
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        for name, value in cases.weights(case, network, shapes).items():
            state[name].copy_(torch.from_numpy(value))
    return segmenter, discriminator


def _reference_options(case: cases.Case) -> torch_reference.Options:
    options = torch_reference.Options(
        t_semi=cases.T_SEMI,
        learning_rate=cases.LEARNING_RATE,
        discriminator_learning_rate=cases.DISCRIMINATOR_LEARNING_RATE,
        weight_decay=cases.WEIGHT_DECAY,
    )
    return torch_reference.METHODS[case["method"]](options)
