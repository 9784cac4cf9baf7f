"""The results table: what it says of its runs, as text, as JSON and as a picture."""

import dataclasses
import json
import math

import pytest
from planned_tables import TINY, finish

from tf_advseg.data import catalog
from tf_advseg.reproduce import gather, grid, published, settings, write
from tf_advseg.reproduce.published import PUBLISHED


def test_table_has_means_and_sample_deviations(planned):
    made = planned("--fractions", "1/2", "--methods", "adv", "--seeds", "0,1,2")
    for run, mean_iou, seconds in zip(made.runs, (0.50, 0.52, 0.57), (10, 20, 90)):
        finish(run, mean_iou, training_seconds=seconds, discriminator_loss=mean_iou / 2)
    cell = gather.gather(made).cells["adv", 0.5]
    assert cell.mean_iou == pytest.approx(0.53)
    # Deviations -3, -1 and 4: the sum of squares is 26, and n - 1 is 2.
    assert cell.mean_iou_deviation == pytest.approx(13**0.5 / 100)
    assert cell.seconds_per_step == 2.0  # The median of 1, 2 and 9.
    assert cell.mean_of("discriminator_loss") == pytest.approx(0.265)
    assert cell.mean_of("selected_fraction") is None
    assert write.show_mean_iou(cell) == "53.00 ± 3.61"


def test_single_run_has_no_deviation(planned):
    made = planned("--fractions", "1/2", "--methods", "adv")
    finish(made.runs[0], 0.5)
    cell = gather.gather(made).cells["adv", 0.5]
    assert cell.mean_iou_deviation is None
    assert write.show_mean_iou(cell) == "50.00"


def test_recipe_that_takes_the_best_checkpoint_is_told_by_it(planned):
    made = planned("--preset", "challenge", "--fractions", "1/2", "--void_as_background", "false")
    finish(made.runs[0], 0.5)
    table = gather.gather(made)
    assert table.cells["baseline", 0.5].mean_iou == 0.9
    assert "of the best checkpoint by validation" in write.markdown(table, "a command")


def test_table_has_each_run_where_a_cell_has_several(planned):
    made = planned("--fractions", "1/2", "--methods", "baseline,adv", "--seeds", "3,5")
    first, second, only, _ = made.runs
    finish(first, 0.5, training_seconds=20)
    finish(second, 0.25, pixel_accuracy=0.75)
    finish(only, 0.4, discriminator_loss=0.55)
    text = write.markdown(gather.gather(made), "a command")
    _, each = text.split("Each run:")
    rows = [
        [field.strip() for field in line.split("|")[1:-1]]
        for line in each.splitlines()
        if line.startswith("| `")
    ]
    # Method, labeled images, seed, mean IoU, pixel accuracy, L_D; at the end seconds per step.
    assert [row[:6] + row[-1:] for row in rows] == [
        ["`baseline`", "1/2, 4", "3", "50.00", "-", "-", "2.000"],
        ["`baseline`", "1/2, 4", "5", "25.00", "75.00", "-", "0.500"],
        ["`adv`", "1/2, 4", "3", "40.00", "-", "0.55", "0.500"],
    ]


def test_table_has_each_class_as_a_mean_over_the_runs_that_counted_it(planned):
    made = planned("--fractions", "1/2", "--methods", "baseline,adv", "--seeds", "3,5")
    first, second, only, _ = made.runs
    finish(first, 0.5, per_class_iou={"sky": 0.5, "road": 0.25, "sign": None})
    finish(second, 0.5, per_class_iou={"sky": 0.75, "road": None, "sign": None})
    finish(only, 0.5, per_class_iou={"sky": 0.0, "road": 1.0, "sign": None})
    text = write.markdown(gather.gather(made), "a command")
    _, by_class = text.split("By class, as means over seeds:")
    assert by_class.strip().splitlines()[:5] == [
        "| IoU, % | `baseline` 1/2 | `adv` 1/2 |",
        "|---|---|---|",
        "| sky | 62.50 | 0.00 |",
        "| road | 25.00 | 100.00 |",
        "| sign | - | - |",
    ]


def test_table_of_one_seed_does_not_repeat_its_runs(planned):
    made = planned("--fractions", "1/2", "--methods", "baseline,adv")
    for run in made.runs:
        finish(run, 0.5)
    text = write.markdown(gather.gather(made), "a command")
    assert "Each run" not in text
    assert "Where seeds are missing" not in text


def test_unfinished_table_says_so(planned):
    made = planned("--fractions", "1/2,full", "--methods", "baseline,semi", "--seeds", "0,1")
    finish(made.runs[0], 0.5)
    text = write.markdown(gather.gather(made), "a command")
    assert "| method | 1/2 (4 labeled) | full (8 labeled) |" in text
    assert "| `baseline` | 50.00 (1 missing) | not finished |" in text
    assert "Where seeds are missing, a mean is of other splits" in text
    assert "| `semi` | not finished | - |" in text
    details = text[text.index("More of the same runs") :]
    assert "| `baseline` | 1/2, 4 |" in details
    assert "`semi`" not in details
    assert "| `baseline` | full" not in details
    assert "`a command`" in text
    assert "of the last step" in text
    assert "compare with" not in text


def test_table_without_a_finished_run_has_no_details(planned):
    made = planned("--fractions", "1/2,full", "--methods", "baseline,semi")
    text = write.markdown(gather.gather(made), "a command")
    assert "| `baseline` | not finished | not finished |" in text
    assert "More of the same runs" not in text
    assert "L_D" not in text


def test_table_of_other_images_says_so(planned):
    made = planned("--fractions", "1/2", "--methods", "baseline")
    finish(made.runs[0], 0.5, protocol="random crops resized to 321x321")
    text = write.markdown(gather.gather(made), "a command")
    assert "Measured on random crops resized to 321x321: compare with numbers of that kind" in text


@pytest.fixture
def voc_table(table_data_dir, tmp_path, monkeypatch):
    """A table over a data set that has VOC's name and lists, and is taken to have its size."""
    voc = dataclasses.replace(PUBLISHED[0], training_images=8, validation_images=3)
    monkeypatch.setattr(published, "PUBLISHED", (voc,))
    names = json.loads((table_data_dir / "classes.json").read_text())
    (table_data_dir / "classes.json").write_text(json.dumps({**names, "name": "voc2012"}))
    lists = table_data_dir / "ImageSets" / "Segmentation"
    (lists / "train_aug.txt").write_text((lists / "train.txt").read_text())
    own, rest = settings.parse(
        ["--dataset", "folder", "--data_dir", str(table_data_dir), *TINY]
        + ["--train_split", "train_aug", "--fractions", "1/2,full,1/4"]
        + ["--output_dir", str(tmp_path / "out")]
    )
    made = grid.make_grid(own, rest)
    for run in made.runs:
        finish(run, 0.5)
    return gather.gather(made)


def test_published_numbers_stand_beside_ours_where_the_data_match(voc_table):
    lines = write.markdown(voc_table, "a command").splitlines()
    head = next(line for line in lines if line.startswith("| method | 1/2"))
    assert head == (
        "| method | 1/2 (4 labeled) | 1/2, paper | 1/2, challenge | full (8 labeled) | full, paper "
        "| full, challenge | 1/4 (2 labeled) | 1/4, paper |"
    )
    assert lines[lines.index(head) + 2 :][:3] == [
        "| `baseline` | 50.00 | 69.80 | 67.84 | 50.00 | 73.60 | 69.98 | 50.00 | 68.30 |",
        "| `adv` | 50.00 | 72.60 | 68.89 | 50.00 | 74.90 | 70.97 | 50.00 | 71.00 |",
        "| `semi` | 50.00 | 73.20 | 69.05 | - | - | - | 50.00 | 72.10 |",
    ]


@pytest.mark.parametrize("other", ["name", "train_split", "val_split", "size"])
def test_other_data_and_other_lists_have_no_published_numbers(other, table_data_dir, monkeypatch):
    dataset = catalog.folder(table_data_dir)
    known = dataclasses.replace(
        PUBLISHED[0], dataset="voc", train_split="train", training_images=8, validation_images=3
    )
    monkeypatch.setattr(published, "PUBLISHED", (known,))
    assert published.published(dataset, "train", "val") == known.mean_iou
    changed = {
        "name": {"dataset": "voc2012"},
        "train_split": {"train_split": "train_aug"},
        "val_split": {"val_split": "test"},
        "size": {"training_images": 10582},
    }[other]
    monkeypatch.setattr(published, "PUBLISHED", (dataclasses.replace(known, **changed),))
    assert published.published(dataset, "train", "val") == {}


def test_published_methods_follow_the_papers_order():
    """Each loss term helps in every published column."""
    for known in PUBLISHED:
        for cells in known.mean_iou.values():
            for fraction in {f for _, f in cells}:
                column = [
                    cells[m, fraction]
                    for m in ("baseline", "adv", "semi")
                    if (m, fraction) in cells
                ]
                assert column == sorted(column)


def test_json_has_every_run_and_fractions_of_one(voc_table):
    document = write.document(voc_table, "a command")
    assert json.loads(json.dumps(document)) == document
    cell = next(c for c in document["cells"] if c["method"] == "semi")
    assert (cell["mean_iou"], cell["labeled_fraction"], cell["labeled_images"]) == (0.5, 0.5, 4)
    assert cell["published_percent"] == {"paper": 73.2, "challenge": 69.05}
    assert [run["seed"] for run in cell["runs"]] == [0]
    assert cell["runs"][0]["results"]["steps"] == 10
    assert {c["method"] for c in document["cells"] if c["labeled_fraction"] == 1} == {
        "baseline",
        "adv",
    }


def test_plot_shows_each_seed_and_each_published_number(voc_table, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    from tf_advseg.reproduce import plot

    drawn = {"errorbar": [], "plot": [], "scatter": []}
    for name, calls in drawn.items():
        original = getattr(Axes, name)

        def spy(self, x, y, *args, _original=original, _calls=calls, **kwargs):
            _calls.append((kwargs.get("label"), list(x), list(y)))
            return _original(self, x, y, *args, **kwargs)

        monkeypatch.setattr(Axes, name, spy)
    plot.save_plot(voc_table, tmp_path / "results.png")
    ours = {label: (x, y) for label, x, y in drawn["errorbar"]}
    assert set(ours) == {"baseline", "adv", "semi"}
    assert ours["semi"][1] == [50, 50]
    assert ours["adv"][0] == [2, 4, 8]  # In the middle of three, and so not shifted.
    published_lines = {label: (x, y) for label, x, y in drawn["plot"] if label}
    assert published_lines["semi, challenge"] == ([4], [69.05])
    assert published_lines["adv, paper"] == ([2, 4, 8], [71.0, 72.6, 74.9])
    assert sum(len(x) for _, x, _ in drawn["scatter"]) == 8
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_plot_joins_only_means_over_all_seeds(planned, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    from tf_advseg.reproduce import plot

    made = planned("--fractions", "1/4,1/2,full", "--methods", "baseline,adv", "--seeds", "0,1")
    for run in made.runs:
        if run.settings.seed == 0 or run.cell in (("baseline", 0.25), ("baseline", 1.0)):
            finish(run, 0.5 + run.settings.seed / 10)
    bars, deviations, legends = [], [], []
    draw_bars, draw_legend = Axes.errorbar, Axes.legend

    def spy_on_bars(self, x, y, **options):
        bars.append(draw_bars(self, x, y, **options))
        deviations.append(list(options["yerr"]))
        return bars[-1]

    def spy_on_legend(self, **options):
        legends.append(draw_legend(self, **options))

    monkeypatch.setattr(Axes, "errorbar", spy_on_bars)
    monkeypatch.setattr(Axes, "legend", spy_on_legend)
    plot.save_plot(gather.gather(made), tmp_path / "results.png")
    looks = [(bar.lines[0].get_linestyle(), bar.lines[0].get_markerfacecolor()) for bar in bars]
    means = [list(bar.lines[0].get_ydata()) for bar in bars]
    # Baseline's quarter and all are joined, past its half, which has one seed as all of adv.
    assert looks == [("-", plot.style_of(0)[0]), ("None", "white"), ("None", "white")]
    assert means == [pytest.approx([55, 55]), [50], [50, 50, 50]]
    assert deviations[0] == pytest.approx([50**0.5] * 2)  # -5 and 5, squared, over n - 1.
    assert all(math.isnan(value) for row in deviations[1:] for value in row)
    [legend] = legends
    assert [text.get_text() for text in legend.get_texts()] == ["baseline", "adv"]
    assert legend.get_title().get_text() == "hollow: seeds are missing"


def test_all_rows_of_a_plot_look_different():
    from tf_advseg.reproduce import plot, rows

    styles = [plot.style_of(row) for row in range(len(rows.ROWS))]
    assert len(set(styles)) == len(styles)


def test_first_rows_of_a_plot_differ_without_colour_too():
    from tf_advseg.reproduce import plot

    colors, markers = zip(*(plot.style_of(row) for row in range(8)))
    assert len(set(colors)) == len(set(markers)) == 8
