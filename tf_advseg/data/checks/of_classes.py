"""Checks of the classes."""

from collections import defaultdict
from collections.abc import Iterator

from tf_advseg.data.checks.problem import Problem
from tf_advseg.data.checks.seen import Survey


def wrong_classes(survey: Survey) -> Iterator[Problem]:
    """A classes.json that is missing or wrong."""
    for text in survey.classes_problems:
        yield Problem("wrong classes", survey.dataset.classes_path, text)


def equal_colors(survey: Survey) -> Iterator[Problem]:
    """Classes that no picture tells apart."""
    classes = survey.dataset.classes
    names: dict[tuple[int, int, int], list[str]] = defaultdict(list)
    for name, color in zip(classes.names, classes.colors, strict=True):
        names[color].append(name)
    for color, alike in names.items():
        if len(alike) > 1:
            shown = ", ".join(map(repr, alike))
            text = f"the classes {shown} of {classes.name!r} all have the color {list(color)}"
            yield Problem("classes of one color", survey.dataset.classes_path, text, True)


def unseen_classes(survey: Survey) -> Iterator[Problem]:
    """Classes that occur in no label; if none does, something else is wrong with them."""
    classes, counts = survey.dataset.classes, survey.class_counts()
    for name, count in zip(classes.names, counts, strict=True):
        if not count and any(counts):
            text = f"no label shows the class {name!r} of {classes.name!r}"
            yield Problem("class that never occurs", survey.dataset.classes_path, text, True)
