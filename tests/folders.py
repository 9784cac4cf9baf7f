"""Small data sets on disk, for any test that needs one."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

VOID = 255
PNG_START = b"\x89PNG\r\n\x1a\n"
#: Class colours that are far apart; class 0 is the background.
COLORS = ((40, 40, 40), (220, 50, 50), (50, 200, 70), (60, 80, 230), (230, 210, 60), (200, 60, 210))


def make_voc_folder(
    folder: Path,
    *,
    train: int = 6,
    val: int = 3,
    size: tuple[int, int] = (48, 64),
    num_classes: int = 3,
    seed: int = 0,
) -> Path:
    """Writes a data set in the layout of PASCAL VOC and returns its folder.

    Each image shows a rectangle of each class but the background, in the class's colour with a
    little noise, so that a network can learn it. The border of a rectangle is void.

    Args:
      folder: where; made if it is missing.
      train: images in the list `train`, named train_0, train_1, ...
      val: images in the list `val`, named val_0, val_1, ...
      size: height and width of each image, at least 24 pixels each.
      num_classes: 2 to 6, the background included.
      seed: of the pictures.
    """
    classes = [{"name": f"class{i}", "color": list(COLORS[i])} for i in range(num_classes)]
    lists = {"train": [f"train_{i}" for i in range(train)], "val": [f"val_{i}" for i in range(val)]}
    images, labels, splits = (
        folder / name for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
    )
    for made in (images, labels, splits):
        made.mkdir(parents=True, exist_ok=True)
    document = {"name": folder.name, "ignore_label": VOID, "classes": classes}
    (folder / "classes.json").write_text(json.dumps(document), "utf-8")
    for split, ids in lists.items():
        (splits / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids), "utf-8")
    rng = np.random.default_rng(seed)
    for image_id in lists["train"] + lists["val"]:
        image, label = draw(rng, size, num_classes)
        Image.fromarray(image).save(images / f"{image_id}.jpg", quality=95)
        indexed_label(label).save(labels / f"{image_id}.png")
    return folder


def draw(
    rng: np.random.Generator, size: tuple[int, int], num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws an image, uint8 [H, W, 3], and its label, uint8 [H, W], with void borders."""
    label = np.zeros(size, np.uint8)
    # Each class has a strip of its own, so that no rectangle hides another.
    strips = np.linspace(0, size[1], num_classes).astype(int)
    order = rng.permutation(np.arange(1, num_classes))
    colors = np.zeros(size, np.int64)
    for index, left, right in zip(order, strips[:-1], strips[1:]):
        top, bottom = rng.integers(0, size[0] // 3), rng.integers(2 * size[0] // 3, size[0])
        left, right = left + rng.integers(0, 2), right - rng.integers(0, 2)
        colors[top:bottom, left:right] = index
        label[top:bottom, left:right] = VOID
        label[top + 1 : bottom - 1, left + 1 : right - 1] = index
    noise = rng.integers(-15, 16, (*size, 3))
    image = np.array(COLORS)[colors] + noise
    return np.clip(image, 0, 255).astype(np.uint8), label


def indexed_label(label: np.ndarray, bits: int = 8) -> Image.Image:
    """Returns an image in mode P whose indices are `label`, with a palette unlike the indices."""
    image = Image.fromarray(label.astype(np.uint8))
    palette = np.full((2**bits, 3), 7, np.uint8)
    palette[: len(COLORS)] = COLORS[: 2**bits]
    image.putpalette(palette.ravel().tolist())
    return image


def grey_png(label: np.ndarray, bits: int) -> bytes:
    """Returns a grey PNG of 1, 2, 4, 8 or 16 bits a pixel, not all of which Pillow can write."""
    height, width = label.shape
    digits = label.astype(">u2").view(np.uint8).reshape(height, width, 2)
    digits = np.unpackbits(digits, axis=2)[..., 16 - bits :].reshape(height, width * bits)
    rows = np.insert(np.packbits(digits, axis=1), 0, 0, axis=1)  # Each begins with its filter.
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")
    return PNG_START + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a part of a PNG file, with its length and checksum."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def numbered_pairs(folder: Path, count: int, first: int = 0) -> list[tuple[Path, Path]]:
    """Writes images of 8x8 pixels that hold their own number, and labels alike; returns both."""
    pairs = []
    for number in range(first, first + count):
        label = np.full((8, 8), number, np.uint8)
        paths = folder / f"{number}_image.png", folder / f"{number}_label.png"
        Image.fromarray(np.repeat(label[..., np.newaxis], 3, axis=2)).save(paths[0])
        Image.fromarray(label).save(paths[1])
        pairs.append(paths)
    return pairs
