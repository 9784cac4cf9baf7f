"""The generated data set `shapes`: textured, overlapping objects on a textured background.

An object's class is a pair of surface texture (stripes, checks, dots) and outline (ellipse,
triangle). Colours of objects and of the background come from one distribution, so colour tells
nothing about the class: a network has to read local texture and larger-scale shape.

Arrays are computed with float64 additions, products, divisions, square roots and floors only.
Those are exactly rounded by IEEE 754, while sines, powers and sums over an axis may differ
between processors in the last bit. For the same reason the random draws are uniform ones.
"""

import json
import math
import tempfile
from pathlib import Path

import numpy as np
from numpy.random import Generator as Rng
from PIL import Image

from tf_advseg import textfile
from tf_advseg.data import VOID_COLOR, VOID_LABEL

#: Raised whenever `render` gives other bytes for the same seed and index.
GENERATOR_VERSION = 2

TEXTURES = ("striped", "checked", "dotted")
OUTLINES = ("ellipse", "triangle")

#: Name and RGB display colour of each class; the index is the label. The colours are from the
#: Okabe-Ito palette, which stays readable with the common kinds of colour blindness.
CLASSES: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("background", (0, 0, 0)),
    ("striped_ellipse", (86, 180, 233)),
    ("striped_triangle", (0, 114, 178)),
    ("checked_ellipse", (240, 228, 66)),
    ("checked_triangle", (213, 94, 0)),
    ("dotted_ellipse", (204, 121, 167)),
    ("dotted_triangle", (0, 158, 115)),
)

#: Side of the default image in pixels. Lengths below are for this size and scale with the image.
DEFAULT_SIZE = 96

_OBJECTS = (2, 4)
_RADIUS = (16.0, 25.0)
_PERIOD = (7.0, 11.0)
_LATTICE = 32


def _between(rng: Rng, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _direction(rng: Rng) -> tuple[float, float]:
    """A random unit vector, made without trigonometry (see the module's docstring)."""
    x, y = 2.0 * rng.random() - 1.0, 2.0 * rng.random() - 1.0
    length = math.sqrt(x * x + y * y)
    return (x / length, y / length) if length > 1e-3 else (1.0, 0.0)


def _rotate(x, y, direction: tuple[float, float]):
    """The coordinates `x`, `y` along `direction` and across it."""
    c, s = direction
    return c * x + s * y, c * y - s * x


def _triangle_wave(x: np.ndarray) -> np.ndarray:
    """A wave of period 1 in [-1, 1]; the stand-in for a sine."""
    return 4.0 * np.abs(x - np.floor(x) - 0.5) - 1.0


def _noise(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth noise in [0, 1] with cells of size 1: random lattice values, interpolated."""
    lattice = rng.random((_LATTICE, _LATTICE))
    floor_x, floor_y = np.floor(x), np.floor(y)
    fx, fy = x - floor_x, y - floor_y
    fx, fy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    x0, y0 = floor_x.astype(np.int64) % _LATTICE, floor_y.astype(np.int64) % _LATTICE
    x1, y1 = (x0 + 1) % _LATTICE, (y0 + 1) % _LATTICE
    top = lattice[y0, x0] * (1.0 - fx) + lattice[y0, x1] * fx
    bottom = lattice[y1, x0] * (1.0 - fx) + lattice[y1, x1] * fx
    return top * (1.0 - fy) + bottom * fy


def _ground(rng: Rng, x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """A background texture in [0, 1]: soft clouds and blotches, at most a little stretched."""
    u, v = _rotate(x, y, _direction(rng))
    cell, stretch = scale * _between(rng, 5.0, 12.0), _between(rng, 1.0, 1.5)
    coarse = _noise(rng, u / cell, v / (cell * stretch))
    fine = _noise(rng, 2.5 * u / cell, 2.5 * v / (cell * stretch))
    gain = _between(rng, 0.8, 2.0)
    return np.clip(0.5 + gain * (0.65 * coarse + 0.35 * fine - 0.5), 0.0, 1.0)


def _texture(rng: Rng, kind: str, x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """An object texture in [0, 1] at a random angle, period, phase and sharpness."""
    period = scale * _between(rng, *_PERIOD)
    u, v = _rotate(x, y, _direction(rng))
    u, v = u / period + rng.random(), v / period + rng.random()
    gain, offset = _between(rng, 1.5, 3.0), _between(rng, -0.15, 0.15)
    if kind == "striped":
        wave = _triangle_wave(u) + offset
    elif kind == "checked":
        # A check is wider than a stripe or a dot: of one size, few labels cannot tell checks and
        # dots apart.
        wave = 2.0 * _triangle_wave(0.4 * u) * _triangle_wave(0.4 * v)
    else:
        du, dv = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
        wave = 4.0 * (0.33 + 0.2 * offset - np.sqrt(du * du + dv * dv))
    return np.clip(0.5 + gain * wave, 0.0, 1.0)


def _outline(rng: Rng, kind: str, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """About the signed distance to an outline around the origin; negative inside."""
    u, v = _rotate(x, y, _direction(rng))
    stretch = _between(rng, 1.0, 1.25)
    u, v = u / stretch, v * stretch
    if kind == "ellipse":
        return np.sqrt(u * u + v * v) - radius
    # The factor gives the triangle the area of the ellipse.
    return np.maximum(0.5 * v + 0.866 * np.abs(u), -v) - 0.778 * radius


def _paint(canvas: np.ndarray, surface: np.ndarray, alpha, rng: Rng) -> np.ndarray:
    """Blend a texture [H, W] in [0, 1] over the canvas, in two colours drawn alike for all."""
    middle = 60.0 + 135.0 * rng.random(3)
    # The two colours differ in lightness, either way round, and less in hue.
    half = (float(rng.integers(2)) - 0.5) + (rng.random(3) - 0.5)
    half = half * (_between(rng, 45.0, 75.0) / np.max(np.abs(half)))
    color = middle + (2.0 * surface[..., None] - 1.0) * half
    return canvas + alpha * (color - canvas)


def _place(rng: Rng, count: int, height: int, width: int):
    """Up to `count` centres and radii (x, y, radius) of things that overlap only in part."""
    scale = min(height, width) / DEFAULT_SIZE
    placed: list[tuple[float, float, float]] = []
    for _ in range(60):
        radius = scale * _between(rng, *_RADIUS)
        x, y = _between(rng, 0.1, 0.9) * width, _between(rng, 0.1, 0.9) * height
        gaps = ((x - a, y - b, 0.8 * (radius + r)) for a, b, r in placed)
        if all(dx * dx + dy * dy > gap * gap for dx, dy, gap in gaps):
            placed.append((x, y, radius))
    return placed[:count]


def _degrade(rng: Rng, canvas: np.ndarray, x, y) -> np.ndarray:
    """Uneven light, a slight blur and pixel noise, as uint8 [H, W, 3]."""
    along, _ = _rotate(x / x.shape[1] - 0.5, y / x.shape[0] - 0.5, _direction(rng))
    canvas = canvas * (1.0 + _between(rng, 0.0, 0.3) * along)[..., None]
    side = _between(rng, 0.0, 0.25)
    middle = 1.0 - 2.0 * side
    padded = np.pad(canvas, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = middle * padded[1:-1] + side * (padded[:-2] + padded[2:])
    canvas = middle * rows[:, 1:-1] + side * (rows[:, :-2] + rows[:, 2:])
    noise = rng.random(canvas.shape) + rng.random(canvas.shape) - 1.0
    canvas = canvas + _between(rng, 2.0, 10.0) * noise
    return np.clip(np.floor(canvas + 0.5), 0, np.iinfo(np.uint8).max).astype(np.uint8)


def _mark_borders(label: np.ndarray, instance: np.ndarray) -> np.ndarray:
    """The label with void on both sides of every border between instances."""
    padded = np.pad(instance, 1, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    border = np.any(around != instance[..., None, None], axis=(2, 3))
    return np.where(border, VOID_LABEL, label).astype(np.uint8)


def _draw_objects(rng: Rng, canvas: np.ndarray, x: np.ndarray, y: np.ndarray):
    """Draw objects over the canvas [H, W, 3]; gives the new canvas and the label [H, W]."""
    (height, width), scale = x.shape, min(x.shape) / DEFAULT_SIZE
    # Bending the coordinates keeps textures from being exactly periodic. Outlines stay straight.
    bend, cell = scale * _between(rng, 0.0, 2.0), scale * 24.0
    bent_x = x + bend * (_noise(rng, x / cell, y / cell) - 0.5)
    bent_y = y + bend * (_noise(rng, x / cell, y / cell) - 0.5)
    # Every other image has a decoy, an outline with a background's surface. It is background.
    count, decoys = int(rng.integers(_OBJECTS[0], _OBJECTS[1] + 1)), int(rng.integers(2))
    places = _place(rng, count + decoys, height, width)
    decoy = decoys * int(rng.integers(1, len(places) + 1))
    label, instance = np.zeros((2, height, width), np.uint8)
    for number, (center_x, center_y, radius) in enumerate(places, 1):
        kind, outline = int(rng.integers(len(TEXTURES))), int(rng.integers(len(OUTLINES)))
        distance = _outline(rng, OUTLINES[outline], x - center_x, y - center_y, radius)
        surface = _texture(rng, TEXTURES[kind], bent_x, bent_y, scale)
        class_index = 1 + kind * len(OUTLINES) + outline
        if number == decoy:
            surface, class_index, number = _ground(rng, x, y, scale), 0, 0
        # The soft edge is one pixel wide, as in a photograph.
        canvas = _paint(canvas, surface, np.clip(0.5 - distance, 0.0, 1.0)[..., None], rng)
        inside = distance < 0.0
        label[inside], instance[inside] = class_index, number
    return canvas, _mark_borders(label, instance)


def render(
    seed: int, index: int, height: int = DEFAULT_SIZE, width: int = DEFAULT_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image and its label, from the seed and the index alone.

    Args:
        seed: seed of the data set, at least 0.
        index: number of the image in the data set, at least 0.
        height, width: size in pixels; what is drawn scales with the shorter side.

    Returns:
        The image, uint8 [height, width, 3] RGB, and the label, uint8 [height, width], of class
        indices 0 to 6 with `VOID_LABEL` on the borders of objects, one pixel on either side.
    """
    rng = np.random.default_rng([seed, index])
    y, x = (axis + 0.5 for axis in np.mgrid[:height, :width].astype(np.float64))
    ground = _ground(rng, x, y, min(height, width) / DEFAULT_SIZE)
    canvas = _paint(np.zeros((height, width, 3)), ground, 1.0, rng)
    canvas, label = _draw_objects(rng, canvas, x, y)
    return _degrade(rng, canvas, x, y), label


def _description(seed: int, train: int, val: int) -> dict:
    return {
        "name": "shapes",
        "ignore_label": VOID_LABEL,
        "classes": [{"name": name, "color": list(color)} for name, color in CLASSES],
        "generator": {"version": GENERATOR_VERSION, "seed": seed, "train": train, "val": val},
    }


def _read_description(folder: Path) -> dict:
    """What classes.json in `folder` says, or nothing if there is no such file to read."""
    try:
        return dict(textfile.read_json(folder / "classes.json"))
    except (ValueError, TypeError):  # An InputError is the former.
        return {}


def _palette() -> list[int]:
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(CLASSES)] = [color for _, color in CLASSES]
    palette[VOID_LABEL] = VOID_COLOR
    return palette.ravel().tolist()


def _write_files(folder: Path, description: dict) -> None:
    """Write images, labels, lists and classes.json into the new folder `folder`."""
    images, labels = folder / "JPEGImages", folder / "SegmentationClass"
    lists = folder / "ImageSets" / "Segmentation"
    for made in (images, labels, lists):
        made.mkdir(parents=True)
    generator, palette = description["generator"], _palette()
    names = [f"shapes_{index:06d}" for index in range(generator["train"] + generator["val"])]
    for index, name in enumerate(names):
        image, label = render(generator["seed"], index)
        Image.fromarray(image).save(images / f"{name}.png")
        indexed = Image.fromarray(label)
        indexed.putpalette(palette)
        indexed.save(labels / f"{name}.png")
    splits = {"train": names[: generator["train"]], "val": names[generator["train"] :]}
    for split, part in splits.items():
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in part), "utf-8")
    (folder / "classes.json").write_text(json.dumps(description, indent=2) + "\n", "utf-8")


def write_dataset(folder: Path, *, seed: int = 0, train: int = 480, val: int = 96) -> None:
    """Write the data set into `folder` in the layout of PASCAL VOC.

    Images are `JPEGImages/ID.png` (RGB), labels `SegmentationClass/ID.png` (indexed, the raw
    index is the class), `ImageSets/Segmentation/train.txt` and `val.txt` hold one ID a line,
    and `classes.json` names the classes and what generated them.

    The files are written next to `folder` and renamed into place, so an interrupted call leaves
    no half data set. A folder that already holds this data set is left as it is.

    Args:
        folder: the folder to make; its parents are made too.
        seed: seed of the images, at least 0.
        train, val: number of images in each list, at least 0; val continues train's numbers.

    Raises:
        FileExistsError: `folder` exists and holds something else.
    """
    folder, description = Path(folder), _description(seed, train, val)
    found = _read_description(folder)
    if found == description:
        return
    if folder.exists():
        raise FileExistsError(
            f"{folder} holds {found.get('generator', 'other files')}, not the data set shapes of "
            f"{description['generator']}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as parent:
        unfinished = Path(parent) / folder.name
        _write_files(unfinished, description)
        try:
            unfinished.rename(folder)
        except OSError:
            # Another process may have put the same data set there in the meantime.
            if _read_description(folder) != description:
                raise
