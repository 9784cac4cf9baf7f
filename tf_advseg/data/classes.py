"""The classes of a data set, and those of the published ones. No TensorFlow here."""

import dataclasses
import json

from tf_advseg import textfile
from tf_advseg.data import VOID_LABEL
from tf_advseg.errors import InputError

_BACKGROUND = "background"


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
      name: of the data set.
      names: of the classes, by class id.
      colors: RGB in 0-255, by class id.
      void_value: what a label file holds where a pixel has no class. Label tensors hold VOID_LABEL.

    Raises:
      InputError: a name moves a terminal's cursor, ends a line or turns the order of a text.
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    void_value: int = VOID_LABEL

    def __post_init__(self) -> None:
        # They go to terminals, into lists with a line for each, and to pages.
        for text in (self.name, *self.names):
            if not textfile.is_printable(text):
                raise InputError(
                    f"the classes of {textfile.shown(self.name)} have the name "
                    f"{textfile.shown(text)}; allowed: names that can be printed on one line"
                )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def background(self) -> int:
        """The class id of "background".

        Raises:
          InputError: there is no such class.
        """
        if _BACKGROUND not in self.names:
            raise InputError(
                f"--void_as_background true: {self.name} has no class {_BACKGROUND!r}; "
                "allowed: --void_as_background false"
            )
        return self.names.index(_BACKGROUND)

    def to_json(self) -> str:
        """Returns the text of a classes.json."""
        classes = [
            {"name": n, "color": list(c)} for n, c in zip(self.names, self.colors, strict=True)
        ]
        document = {"name": self.name, "ignore_label": self.void_value, "classes": classes}
        return json.dumps(document, indent=1) + "\n"


def voc_color(index: int) -> tuple[int, int, int]:
    """Returns the RGB colour of an index in VOC's palette.

    The palette deals out the bits of the index to red, green and blue in turn, from each colour's
    highest bit down (VOCdevkit's VOClabelcolormap).
    """
    red, green, blue = 0, 0, 0
    for bit in range(7, -1, -1):
        red |= (index & 1) << bit
        green |= (index >> 1 & 1) << bit
        blue |= (index >> 2 & 1) << bit
        index >>= 3
    return red, green, blue


_VOC_NAMES = (
    _BACKGROUND, "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip

VOC2012 = Classes("voc2012", _VOC_NAMES, tuple(map(voc_color, range(len(_VOC_NAMES)))))

# cityscapesScripts, helpers/labels.py: the classes with a training id, in the order of those.
_CITYSCAPES_COLORS = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}

CITYSCAPES = Classes("cityscapes", tuple(_CITYSCAPES_COLORS), tuple(_CITYSCAPES_COLORS.values()))
