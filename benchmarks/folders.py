"""A data set to read, for those who have none at hand: generated pictures as JPEG files."""

import json
from pathlib import Path

from PIL import Image

from tf_advseg.data import shapes

#: As many bytes a pixel as CamVid's files have.
_QUALITY = 92


def write(folder: Path, *, train: int, val: int, size: tuple[int, int]) -> Path:
    """Writes a data set in the layout of PASCAL VOC, and returns its folder.

    Args:
      folder: where; made if it is missing.
      train: images in the list `train`.
      val: images in the list `val`.
      size: height and width of the images, in pixels.
    """
    images, labels, lists = (
        folder / name for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
    )
    for made in (images, labels, lists):
        made.mkdir(parents=True, exist_ok=True)
    names = [f"image{index}" for index in range(train + val)]
    for index, name in enumerate(names):
        image, label = shapes.render(0, index, *size)
        Image.fromarray(image).save(images / f"{name}.jpg", quality=_QUALITY)
        Image.fromarray(label).save(labels / f"{name}.png")
    for split, part in (("train", names[:train]), ("val", names[train:])):
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in part), "utf-8")
    classes = [{"name": name, "color": list(color)} for name, color in shapes.CLASSES]
    (folder / "classes.json").write_text(json.dumps({"name": "bench", "classes": classes}), "utf-8")
    return folder
