"""The report as a page: one file of HTML that loads nothing else."""

import base64
from pathlib import Path
from typing import Any

import jinja2

from tf_advseg.data import VOID_COLOR
from tf_advseg.report import charts, figures, words
from tf_advseg.report.content import Picture, Report

_TEMPLATES = Path(__file__).parent / "templates"

Color = tuple[int, int, int]

#: The ends of the scale that shades the confusion matrix, and the colours of text on it.
_EMPTY, _FULL = (255, 255, 255), (8, 48, 107)
_DARK_TEXT, _LIGHT_TEXT, _FAINT_TEXT = (0, 0, 0), (255, 255, 255), (98, 105, 113)
_LIGHT_FROM = 0.66  # The share from which light text is the more legible.


def page(report: Report) -> str:
    """Returns the text of report.html. Names of classes and images are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "whole_percent": words.whole_percent,
        "unbroken": lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%"),
        "rgb": css_color,
        "data_uri": _data_uri,
    }
    return environment.get_template("report.html").render(**_context(report))


def _context(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "confusions": [words.confusion(item) for item in report.confusions],
        "no_confusion": words.NO_CONFUSION,
        "without_class": words.without_class(report.images_without_class),
        "reliability_words": words.reliability(report.reliability),
        "reliability_charts": charts.reliability_charts(report.reliability),
        "curve_charts": charts.curve_charts(report.curves),
        "shades": [(css_color(shade(n / 100)), css_color(text_color(n / 100))) for n in range(101)],
        "void_color": VOID_COLOR,
        "error_colors": {
            "right": figures.RIGHT_COLOR,
            "wrong": figures.WRONG_COLOR,
            "void": figures.NO_CLASS_COLOR,
        },
    }


def css_color(color: Color) -> str:
    """Returns an RGB colour in 0-255 as CSS has it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def shade(share: float) -> Color:
    """Returns the RGB colour behind a cell of the confusion matrix, by its share in 0-1."""
    return tuple(round(a + (b - a) * share) for a, b in zip(_EMPTY, _FULL))


def text_color(share: float) -> Color:
    """Returns the RGB colour of the number in such a cell."""
    if share == 0:
        return _FAINT_TEXT
    return _LIGHT_TEXT if share >= _LIGHT_FROM else _DARK_TEXT


def _data_uri(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}"
