"""Files beside the graph of an export, for those who read its answers."""

from pathlib import Path

from tf_advseg import textfile
from tf_advseg.data.classes import Classes

#: In the folder `assets`: line n is the name of class n, and its colour as "R G B" in 0-255.
LABELS, PALETTE = "labels.txt", "palette.txt"


def write(export: Path, classes: Classes) -> None:
    """Writes the classes' names and colours.

    Args:
      export: the folder of a SavedModel.
      classes: that it predicts.
    """
    folder = export / "assets"
    folder.mkdir(exist_ok=True)
    textfile.write(folder / LABELS, "".join(f"{name}\n" for name in classes.names))
    colors = ("{} {} {}\n".format(*color) for color in classes.colors)
    textfile.write(folder / PALETTE, "".join(colors))
