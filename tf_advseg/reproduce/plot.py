"""Mean IoU against labeled images, as a picture."""

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
_MARGIN = 1.2  # Beside the first and the last fraction, on the log scale.
_SPREAD = 0.035  # Between neighbouring rows, as a share of the labeled images.


def save_plot(table: Table, path: Path) -> None:
    """Draws a line with error bars for each row, and dashed ones for what was published.

    Each seed is a small dot, the mean over seeds a marker, and the standard deviation a bar.

    Raises:
      OSError: the file cannot be written.
    """
    figure = Figure(figsize=_SIZE, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    for index, row in enumerate(table.rows):
        cells = [cell for (r, _), cell in table.cells.items() if r == row]
        cells.sort(key=lambda cell: cell.labeled_images)
        style = style_of(index)
        # Beside each other, so that no error bar hides another.
        shift = 1 + _SPREAD * (index - (len(table.rows) - 1) / 2)
        _draw_row(axes, row, cells, style, shift)
        _draw_published(axes, table, row, cells, style)
    _label(axes, table)
    figure.savefig(path)


def style_of(row: int) -> tuple[str, str]:
    """Returns colour and marker of a row: the first rows differ in both, and all 64 in one."""
    turns, color = divmod(row, len(_COLORS))
    return _COLORS[color], _MARKERS[(color + turns) % len(_MARKERS)]


def _draw_row(
    axes: Axes, row: str, cells: list[Cell], style: tuple[str, str], shift: float
) -> None:
    color, marker = style
    cells = [cell for cell in cells if cell.mean_iou is not None]
    if not cells:
        return
    axes.errorbar(
        [shift * cell.labeled_images for cell in cells],
        [100 * cell.mean_iou for cell in cells],
        yerr=[100 * (cell.mean_iou_deviation or 0) for cell in cells],
        color=color,
        marker=marker,
        capsize=3,
        label=row,
    )
    dots = [(shift * c.labeled_images, 100 * value) for c in cells for value in c.mean_ious]
    axes.scatter(*zip(*dots), s=8, color=color, alpha=0.5, zorder=3)


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


def _label(axes: Axes, table: Table) -> None:
    images = sorted(table.labeled_images.items(), key=lambda item: item[1])
    axes.set_xscale("log")
    axes.set_xticks(
        [count for _, count in images],
        [f"{count}\n{show_fraction(fraction)}" for fraction, count in images],
    )
    axes.set_xlim(images[0][1] / _MARGIN, images[-1][1] * _MARGIN)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("labeled images")
    axes.set_ylabel("mean IoU, %")
    axes.set_title(table.dataset)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize="small")
