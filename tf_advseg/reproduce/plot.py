"""Mean IoU against labeled images, as a picture."""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from tf_advseg.reproduce.gather import Cell, Table
from tf_advseg.reproduce.grid import show_fraction

_SIZE, _DOTS_PER_INCH = (7.0, 4.2), 110  # Inches.
# Okabe and Ito's, for all kinds of colour vision, and a grey.
_COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888"
)  # fmt: skip
_MARKERS = "os^DvPX*"
_SOURCE_LINES = ("--", ":")
_MARGIN = 1.15  # Beside the first and the last marker, on the log scale.
# Between neighbouring rows, as a share of the labeled images; and between the first and the last of
# many, for whom the next fraction has to be far enough.
_SPREAD, _MOST_SPREAD = 0.06, 0.5


def save_plot(table: Table, path: Path) -> None:
    """Draws a line with error bars for each row, and dashed ones for what was published.

    Each seed is a small dot, the mean over seeds a marker, and the standard deviation a bar. The
    mean of a cell with missing seeds is of other splits than that of its neighbours: its marker is
    hollow, and no line goes through it.

    Raises:
      OSError: the file cannot be written.
    """
    figure = Figure(figsize=_SIZE, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    shifts = _shifts(len(table.rows))
    for index, (row, shift) in enumerate(zip(table.rows, shifts)):
        cells = [cell for (r, _), cell in table.cells.items() if r == row]
        cells.sort(key=lambda cell: cell.labeled_images)
        style = style_of(index)
        _draw_row(axes, row, cells, style, shift)
        _draw_published(axes, table, row, cells, style)
    _label(axes, table, outermost=shifts[-1])
    figure.savefig(path)


def style_of(row: int) -> tuple[str, str]:
    """Returns colour and marker of a row: the first rows differ in both, and all 64 in one."""
    turns, color = divmod(row, len(_COLORS))
    return _COLORS[color], _MARKERS[(color + turns) % len(_MARKERS)]


def _shifts(rows: int) -> list[float]:
    """Returns what the labeled images of each row are multiplied by: no bar shall hide another."""
    spread = min(_SPREAD, _MOST_SPREAD / rows)
    return [1 + spread * (index - (rows - 1) / 2) for index in range(rows)]


def _draw_row(
    axes: Axes, row: str, cells: list[Cell], style: tuple[str, str], shift: float
) -> None:
    cells = [cell for cell in cells if cell.mean_iou is not None]
    if not cells:
        return
    whole = [cell for cell in cells if not cell.missing]
    others = [cell for cell in cells if cell.missing]
    _draw_means(axes, whole, style, shift, label=row)
    hollow = {"linestyle": "none", "markerfacecolor": "white"}
    _draw_means(axes, others, style, shift, label=None if whole else row, **hollow)
    dots = [(shift * c.labeled_images, 100 * value) for c in cells for value in c.mean_ious]
    axes.scatter(*zip(*dots), s=8, color=style[0], alpha=0.5, zorder=3)


def _draw_means(
    axes: Axes, cells: list[Cell], style: tuple[str, str], shift: float, **options
) -> None:
    if not cells:
        return
    color, marker = style
    axes.errorbar(
        [shift * cell.labeled_images for cell in cells],
        [100 * cell.mean_iou for cell in cells],
        # matplotlib draws no bar where it is NaN: a single seed has no deviation.
        yerr=[100 * (cell.mean_iou_deviation or math.nan) for cell in cells],
        color=color,
        marker=marker,
        capsize=3,
        **options,
    )


def _draw_published(
    axes: Axes, table: Table, row: str, cells: list[Cell], style: tuple[str, str]
) -> None:
    color, marker = style
    for source, line in zip(table.sources, _SOURCE_LINES):
        points = [(c.labeled_images, c.published[source]) for c in cells if source in c.published]
        if points:
            axes.plot(
                *zip(*points),
                color=color,
                marker=marker,
                markerfacecolor="none",
                linestyle=line,
                linewidth=1,
                label=f"{row}, {source}",
            )


def _label(axes: Axes, table: Table, outermost: float) -> None:
    images = sorted(table.labeled_images.items(), key=lambda item: item[1])
    axes.set_xscale("log")
    axes.set_xticks(
        [count for _, count in images],
        [f"{count}\n{show_fraction(fraction)}" for fraction, count in images],
    )
    first, last = images[0][1] * (2 - outermost), images[-1][1] * outermost
    axes.set_xlim(first / _MARGIN, last * _MARGIN)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("labeled images")
    axes.set_ylabel("mean IoU, %")
    axes.set_title(table.dataset)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        hollow = any(cell.missing for cell in table.cells.values() if cell.mean_ious)
        title = "hollow: seeds are missing" if hollow else None
        axes.legend(frameon=False, fontsize="small", title=title, title_fontsize="small")
