"""The table as files: results.md for readers, results.json for programs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_advseg import textfile
from tf_advseg.config import BEST
from tf_advseg.evaluation.results import FULL_IMAGES
from tf_advseg.reproduce.gather import Cell, Table, difference
from tf_advseg.reproduce.grid import show_fraction

MARKDOWN_FILE, JSON_FILE, PLOT_FILE = "results.md", "results.json", "results.png"

#: What a cell means nothing for, or nobody published.
_NOTHING = "-"

#: Column beside mean IoU, of cells and of runs -> key of results.json and factor.
_DETAILS = {
    "pixel accuracy, %": ("pixel_accuracy", 100),
    "L_D": ("discriminator_loss", 1),
    "selected in training, %": ("train_selected_fraction", 100),
    "selected on validation, %": ("selected_fraction", 100),
    "right of those, %": ("selected_accuracy", 100),
    "AUC of confidence": ("confidence_auc", 1),
    "of probability": ("probability_auc", 1),
}

_COLUMNS_EXPLAINED = (
    "L_D is the discriminator's loss over the last steps. Selected are the unlabeled pixels that "
    "L_semi uses, by each method's own rule; on validation images, those whose confidence is above "
    "T_semi. AUC is the area under the ROC curve of telling right pixels from wrong ones: 0.5 says "
    "nothing, 1 tells them all."
)


def markdown(table: Table, command: str) -> str:
    """Returns the text of results.md.

    Args:
      table: what is told.
      command: that makes it.
    """
    parts = [
        f"# {table.dataset}",
        f"`{command}`",
        _what_is_shown(table),
        _grid(_main_rows(table)),
        *_differences(table),
        *_details(table),
        *_by_class(table),
        *_each_run(table),
        f"![Mean IoU against labeled images]({PLOT_FILE})",
    ]
    return "\n\n".join(parts) + "\n"


def _what_is_shown(table: Table) -> str:
    of = "the best checkpoint by validation" if table.checkpoint == BEST else "the last step"
    text = f"Mean IoU in % on the validation images, of {of}: mean ± standard deviation over seeds."
    unusual = [protocol for protocol in table.protocols if protocol != FULL_IMAGES]
    if unusual:
        text += f" Measured on {', '.join(unusual)}: compare with numbers of that kind only."
    if any(cell.outcomes and cell.missing for cell in table.cells.values()):
        text += " Where seeds are missing, a mean is of other splits than its neighbour's."
    return text


def _main_rows(table: Table) -> list[list[str]]:
    sources = {fraction: _sources_of(table, fraction) for fraction in table.labeled_images}
    head = ["method"]
    for fraction, images in table.labeled_images.items():
        shown = show_fraction(fraction)
        head += [f"{shown} ({images} labeled)", *(f"{shown}, {s}" for s in sources[fraction])]
    rows = [head]
    for name in table.rows:
        row = [f"`{name}`"]
        for fraction in table.labeled_images:
            cell = table.cells.get((name, fraction))
            row.append(show_mean_iou(cell) if cell else _NOTHING)
            row += [_number(cell and cell.published.get(s)) for s in sources[fraction]]
        rows.append(row)
    return rows


def _differences(table: Table) -> list[str]:
    """Returns what the rows below the first gain over it, if there are any that can be paired."""
    first, *others = table.rows
    rows = [
        [f"`{name}` - `{first}`"]
        + [_gain(table, name, first, fraction) for fraction in table.labeled_images]
        for name in others
    ]
    if all(text == _NOTHING for row in rows for text in row[1:]):
        return []
    head = ["difference, %", *map(show_fraction, table.labeled_images)]
    text = (
        "Differences of the same seeds (split, initial weights): mean ± its standard error, and "
        "the number of seeds where not all have both runs."
    )
    return [text, _grid([head, *rows])]


def _gain(table: Table, name: str, first: str, fraction: float) -> str:
    cells = [table.cells.get((row, fraction)) for row in (name, first)]
    found = difference(*cells) if all(cells) else None
    if found is None:
        return _NOTHING
    text = f"{100 * found.mean:+.2f}"
    if found.standard_error is not None:
        text += f" ± {100 * found.standard_error:.2f}"
    planned = cells[0].planned
    return f"{text} ({found.seeds} of {planned})" if found.seeds < planned else text


def _sources_of(table: Table, fraction: float) -> list[str]:
    """Returns who published a number for any row at this fraction."""
    cells = [cell for (_, f), cell in table.cells.items() if f == fraction]
    return [s for s in table.sources if any(s in cell.published for cell in cells)]


def show_mean_iou(cell: Cell) -> str:
    """Returns a cell's mean IoU in %, its deviation, and how many runs are missing."""
    if cell.mean_iou is None:
        return "not finished"
    text = f"{100 * cell.mean_iou:.2f}"
    if cell.mean_iou_deviation is not None:
        text += f" ± {100 * cell.mean_iou_deviation:.2f}"
    return f"{text} ({cell.missing} missing)" if cell.missing else text


def _details(table: Table) -> list[str]:
    cells = _finished(table)
    if not cells:
        return []
    rows = [["method", "labeled", *_DETAILS, "seconds per step"]]
    for cell in cells:
        details = (_number(cell.mean_of(key), factor) for key, factor in _DETAILS.values())
        rows.append([*_name(cell), *details, _number(cell.seconds_per_step, digits=3)])
    title = "More of the same runs, as means over seeds; seconds per step as the median, without "
    return [f"{title}validation:", _grid(rows), _COLUMNS_EXPLAINED]


def _by_class(table: Table) -> list[str]:
    """Returns the IoU of each class in each cell: a mean over classes can hide a lost one."""
    cells = [cell for cell in _finished(table) if cell.class_ious]
    if not cells:
        return []
    head = ["IoU, %", *(f"`{c.row}` {show_fraction(c.labeled_fraction)}" for c in cells)]
    names = dict.fromkeys(name for cell in cells for name in cell.class_ious)
    rows = [[name, *(_number(c.class_ious.get(name), 100) for c in cells)] for name in names]
    return ["By class, as means over seeds:", _grid([head, *rows])]


def _each_run(table: Table) -> list[str]:
    """Returns the runs one by one, unless no cell has several: then the cells tell all of it."""
    cells = _finished(table)
    if all(len(cell.outcomes) < 2 for cell in cells):
        return []
    rows = [["method", "labeled", "seed", "mean IoU, %", *_DETAILS, "seconds per step"]]
    for cell in cells:
        for outcome in cell.outcomes:
            values = outcome.values
            details = (_number(values.get(key), factor) for key, factor in _DETAILS.values())
            seed, mean_iou = str(outcome.run.settings.seed), _number(outcome.mean_iou, 100)
            seconds = _number(outcome.seconds_per_step, digits=3)
            rows.append([*_name(cell), seed, mean_iou, *details, seconds])
    return ["Each run:", _grid(rows)]


def _finished(table: Table) -> list[Cell]:
    """Returns the cells in which a run is finished, column by column."""
    places = ((name, fraction) for fraction in table.labeled_images for name in table.rows)
    cells = (table.cells[place] for place in places if place in table.cells)
    return [cell for cell in cells if cell.outcomes]


def _name(cell: Cell) -> list[str]:
    return [f"`{cell.row}`", f"{show_fraction(cell.labeled_fraction)}, {cell.labeled_images}"]


def _number(value: float | None, factor: float = 1, digits: int = 2) -> str:
    return _NOTHING if value is None else f"{factor * value:.{digits}f}"


def _grid(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def document(table: Table, command: str) -> dict[str, Any]:
    """Returns the content of the table's results.json: fractions of 1, but published in %."""
    return {
        "dataset": table.dataset,
        "command": command,
        "cells": [_cell_document(cell) for cell in table.cells.values()],
    }


def _cell_document(cell: Cell) -> dict[str, Any]:
    return {
        "method": cell.row,
        "labeled_fraction": cell.labeled_fraction,
        "labeled_images": cell.labeled_images,
        "mean_iou": cell.mean_iou,
        "mean_iou_deviation": cell.mean_iou_deviation,
        "seconds_per_step": cell.seconds_per_step,
        "published_percent": cell.published,
        "planned_runs": cell.planned,
        "runs": [
            {
                "seed": outcome.run.settings.seed,
                "folder": outcome.run.folder.name,
                "seconds_per_step": outcome.seconds_per_step,
                "results": outcome.values,
            }
            for outcome in cell.outcomes
        ],
    }


def write(table: Table, output_dir: Path, command: str) -> None:
    """Writes results.md, results.json and the plot.

    Raises:
      OSError: the folder cannot be written.
    """
    from tf_advseg.reproduce.plot import save_plot

    save_plot(table, output_dir / PLOT_FILE)
    content = json.dumps(document(table, command), indent=1)
    textfile.write(output_dir / JSON_FILE, content + "\n")
    textfile.write(output_dir / MARKDOWN_FILE, markdown(table, command))
