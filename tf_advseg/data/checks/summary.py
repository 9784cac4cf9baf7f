"""What a data set holds, in a few lines."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tf_advseg.data.checks.problem import Problem
from tf_advseg.data.checks.seen import SeenFile, Survey


def summary(survey: Survey, problems: Sequence[Problem]) -> list[str]:
    """Returns lines of text: images, labels, classes with their share, problems by kind."""
    return [
        _row("images", _images(survey)),
        _row("labels", _labels(survey)),
        _row("classes", f"{len(survey.dataset.classes)}, and their share of all pixels with one"),
        *_shares(survey),
        *_kinds("problems", (p for p in problems if not p.is_warning)),
        *_kinds("warnings", (p for p in problems if p.is_warning)),
    ]


def counted(count: int, noun: str) -> str:
    """Returns a number of things, as in "1 problem" and "2 problems"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _row(name: str, text: str) -> str:
    return f"{name:9} {text}"


def _images(survey: Survey) -> str:
    found = [image for image in survey.images.values() if image.found]
    lists = ", ".join(f"{len(listing.ids)} in {name}" for name, listing in survey.lists.items())
    sizes = sorted({image.size for image in found if image.size}, key=lambda s: s[0] * s[1])
    shown = [f"{width}x{height}" for height, width in dict.fromkeys(sizes[:1] + sizes[-1:])]
    return f"{len(found)} ({lists})" + (f", of {' to '.join(shown)} pixels" if shown else "")


def _labels(survey: Survey) -> str:
    found = sum(label.found for label in survey.labels.values())
    unlabeled = sum(not survey.labels[i].found for i in survey.train_ids)
    void = sum(label.counts.get(survey.dataset.classes.void_value, 0) for label in _used(survey))
    pixels = sum(sum(label.counts.values()) for label in _used(survey))
    share = f", {void / pixels:.1%} of their pixels void" if pixels else ""
    return f"{found}{share}; {counted(unlabeled, 'training image')} unlabeled"


def _used(survey: Survey) -> list[SeenFile]:
    return [label for label in survey.labels.values() if label.counts]


def _shares(survey: Survey) -> list[str]:
    classes, counts = survey.dataset.classes, survey.class_counts()
    total = max(1, sum(counts))
    return [f"  {count / total:7.2%}  {name}" for name, count in zip(classes.names, counts)]


def _kinds(title: str, problems: Iterable[Problem]) -> list[str]:
    kinds = Counter(problem.kind for problem in problems)
    return [
        _row(title, str(sum(kinds.values()) or "none")),
        *(f"  {count:7}  {kind}" for kind, count in kinds.items()),
    ]
