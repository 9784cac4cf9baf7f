"""The report's numbers as Markdown: to be read in a terminal, or shown by a code host."""

import re
from collections.abc import Sequence

from tf_advseg.report import words
from tf_advseg.report.content import ClassScore, CurveChart, Fact, Reliability, Report, Score

_ABSENT = "absent"
_NO_PIXELS = "-"
#: What means something in a line of Markdown or in a table. An underscore does so beside a word.
_SPECIAL = re.compile(r"[\\`*\[\]<>|&~$#]|(?<![^\W_])_|_(?![^\W_])")


def text(report: Report, page: str) -> str:
    """Returns the text of report.md.

    Args:
      report: what is told.
      page: name of the HTML file beside it.
    """
    parts = [
        f"# {escaped(report.title)}",
        *([f"**{escaped(report.warning)}**"] if report.warning else []),
        _grid([["measure", "value"], *([m.name, words.percent(m.value)] for m in report.measures)]),
        _grid([["", ""], *([fact.name, escaped(fact.value)] for fact in report.facts)], texts=2),
        f"Pictures and charts are in [{page}]({page}).",
        "## Classes",
        _classes(report.classes),
        "## Confusion matrix",
        "Rows are true classes, columns predicted ones by number; in % of the pixels of the row.",
        _confusion(report),
        _largest_confusions(report),
        "## Best, median and worst images",
        *_images(report),
        "## Confidence",
        *map(escaped, words.reliability(report.reliability)),
        _selections(report.reliability),
        "## Training",
        _curves(report.curves) if report.curves else escaped(report.missing_curves),
        "## Settings",
        "Of the evaluation: " + _flags(report.settings),
        "Of the run: " + _flags(report.training),
    ]
    return "\n\n".join(parts) + "\n"


def escaped(plain: str) -> str:
    """Returns a text in one line, in which no character has a meaning in Markdown."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(plain.split()))


def _grid(rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Returns a table whose columns line up.

    Args:
      rows: of cells, the headings first.
      texts: how many columns are texts, to the left; those after them are numbers, to the right.
    """
    columns = []
    for index, cells in enumerate(zip(*rows, strict=True)):
        width = max(3, *map(len, cells))
        if index < texts:
            head, *body = (cell.ljust(width) for cell in cells)
            columns.append([head, "-" * width, *body])
        else:
            head, *body = (cell.rjust(width) for cell in cells)
            columns.append([head, "-" * (width - 1) + ":", *body])
    return "\n".join(f"| {' | '.join(row)} |" for row in zip(*columns))


def _classes(classes: Sequence[ClassScore]) -> str:
    rows = [["class", "number", "IoU", "share of pixels"]]
    for item in classes:
        iou = _ABSENT if item.iou is None else words.percent(item.iou)
        rows.append([escaped(item.name), str(item.number), iou, words.percent(item.share)])
    return _grid(rows)


def _confusion(report: Report) -> str:
    rows = [["true class", *(str(item.number) for item in report.classes)]]
    for item, shares in zip(report.classes, report.confusion, strict=True):
        cells = [_NO_PIXELS] * len(report.classes)
        if shares is not None:
            cells = [words.whole_percent(share) for share in shares]
        rows.append([f"{item.number} {escaped(item.name)}", *cells])
    return _grid(rows)


def _largest_confusions(report: Report) -> str:
    if not report.confusions:
        return words.NO_CONFUSION
    return "\n".join(f"- {escaped(words.confusion(item))}" for item in report.confusions)


def _images(report: Report) -> list[str]:
    rows = [["image", "shown as", "its own mean IoU"]]
    for group in report.images:
        for image in group.images:
            rows.append([escaped(image.image_id), group.title, words.percent(image.mean_iou)])
    parts = [_grid(rows, texts=2)] if report.images else []
    if report.images_without_class:
        parts.append(words.without_class(report.images_without_class))
    return parts


def _selections(reliability: Reliability) -> str:
    columns = [column for score in reliability.scores for column in _columns(score)]
    thresholds = [f"{kept.threshold:g}" for kept in reliability.probability.selections]
    return _grid(list(zip(["T_semi", *thresholds], *columns)))


def _columns(score: Score) -> list[list[str]]:
    """Returns what is kept above each threshold, and how much of it is right, under headings."""
    return [
        [f"kept by {score.name}", *(words.percent(s.fraction, 1) for s in score.selections)],
        ["of these right", *(words.percent(s.accuracy, 1) for s in score.selections)],
    ]


def _curves(charts: Sequence[CurveChart]) -> str:
    rows = [["curve", "first step", "value", "last step", "value", "lowest", "highest"]]
    for chart in charts:
        show = words.percent if chart.percent else words.number
        for line in chart.lines:
            rows.append(
                [
                    f"{chart.title}, {line.name}",
                    str(line.steps[0]),
                    show(line.values[0]),
                    str(line.steps[-1]),
                    show(line.values[-1]),
                    show(line.lowest),
                    show(line.highest),
                ]
            )
    return _grid(rows)


def _flags(facts: Sequence[Fact]) -> str:
    return ", ".join(f"{fact.name} {escaped(fact.value)}" for fact in facts) + "."
