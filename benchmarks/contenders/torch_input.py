"""PyTorch's input pipeline: a DataLoader with the work of `data.pipeline`."""

import random
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from benchmarks.contenders import torch_crops
from benchmarks.workers import Task

Options = Mapping[str, Any]


class Pairs(Dataset):
    """At each place an image and its label, and an unlabeled image and where it is valid.

    Maps stay uint8: a quarter of the bytes to bring from a loader's process to the trainer's.
    """

    def __init__(self, options: Options):
        self._options = options
        self._length = options["steps"] * options["batch"]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: int) -> tuple[torch.Tensor, ...]:
        options, generator = self._options, random.Random(place)
        size = options["crop_size"]
        image, label = generator.choice(options["labeled"])
        pixels, crop = self._image(image, generator)
        with Image.open(label) as file:
            ids = torch_crops.crop_label(file, crop, size)
        unlabeled, crop = self._image(generator.choice(options["unlabeled"]), generator)
        valid = torch_crops.crop_valid(crop, size)
        return tuple(map(torch.from_numpy, (pixels, ids, unlabeled, valid)))

    def _image(self, path: str, generator: random.Random):
        options = self._options
        with Image.open(path) as file:
            ImageOps.exif_transpose(file, in_place=True)
            file.load()
            # A conversion to the same mode would copy it.
            rgb = file if file.mode == "RGB" else file.convert("RGB")
        size = options["crop_size"]
        crop = torch_crops.draw(generator, (rgb.height, rgb.width), size, options["scales"])
        color, resize = options["padding_color"], options["resize"]
        return torch_crops.crop_image(rgb, crop, size, color, resize), crop


def batches(options: Options) -> Task:
    """Reads "steps" batches.

    Args:
      options: as `ours_input.batches` has them, and "loaders": processes; "resize": by what.
    """
    torch.set_num_threads(1)
    loaders = options["loaders"]
    loader = DataLoader(
        Pairs(options),
        options["batch"],
        shuffle=True,
        num_workers=loaders,
        drop_last=True,
        persistent_workers=loaders > 0,
    )

    def run() -> None:
        for images, labels, unlabeled, valid in loader:
            batch = images.float(), labels.int(), unlabeled.float(), valid
            assert batch[0].shape[0] == options["batch"]

    return Task(run)
