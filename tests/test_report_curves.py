"""The curves of a report: from event files, through a chart, to what is drawn."""

import math
import re

import pytest
import tensorflow as tf

from tests.report_pages import read_page
from tf_advseg.errors import InputError
from tf_advseg.evaluation.selection import Selection
from tf_advseg.report import charts
from tf_advseg.report.content import CurveChart, Line, Reliability, Score
from tf_advseg.report.curves import read_curves, read_scalars

TAG = "loss/cross_entropy"


def write_events(folder, begun, points, tag=TAG):
    """Writes {step: value} to an event file, as if begun at a time in seconds."""
    made = folder.parent / f"made-{folder.name}-{begun}"
    with tf.summary.create_file_writer(str(made)).as_default():
        for step, value in points.items():
            tf.summary.scalar(tag, value, step=step)
            tf.summary.image("picture", tf.zeros([1, 2, 2, 3]), step=step)
            tf.summary.scalar("other", -1.0, step=step)
    folder.mkdir(parents=True, exist_ok=True)
    (file,) = made.iterdir()
    return file.rename(folder / f"events.out.tfevents.{begun}.host.1.0.v2")


def test_every_point_of_a_long_curve_is_read(tmp_path):
    points = {20 * n: float(n) for n in range(1, 301)}
    write_events(tmp_path / "train", 100, points)
    assert read_scalars(tmp_path / "train", {TAG}) == {TAG: points}


def test_resumed_run_goes_on_where_its_checkpoint_was(tmp_path):
    # Stopped at step 50, resumed from step 30 with validations at other steps.
    write_events(tmp_path / "train", 100, {10: 1.0, 20: 2.0, 30: 3.0, 40: 4.0, 50: 5.0})
    write_events(tmp_path / "train", 101, {35: 30.0, 45: 40.0, 55: 50.0})
    expected = {10: 1.0, 20: 2.0, 30: 3.0, 35: 30.0, 45: 40.0, 55: 50.0}
    assert read_scalars(tmp_path / "train", {TAG})[TAG] == expected


def test_file_that_is_cut_off_is_read_to_its_cut(tmp_path):
    file = write_events(tmp_path / "train", 100, {10: 1.0, 20: 2.0, 30: 3.0})
    file.write_bytes(file.read_bytes()[:-9])
    # The last record is that of another curve.
    assert read_scalars(tmp_path / "train", {TAG, "other"}) == {
        TAG: {10: 1.0, 20: 2.0, 30: 3.0},
        "other": {10: -1.0, 20: -1.0},
    }


def test_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "tensorboard" / "train" / "events.out.tfevents.1.host"
    path.mkdir(parents=True)
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_curves(tmp_path / "tensorboard")


def test_missing_folder_and_unknown_tags_have_no_curves(tmp_path):
    assert read_curves(tmp_path / "none") == ()
    write_events(tmp_path / "tensorboard" / "train", 100, {10: 1.0}, tag="learning_rate/segmenter")
    assert read_curves(tmp_path / "tensorboard") == ()


def test_charts_hold_the_curves_that_there_are(tmp_path):
    train, validation = (tmp_path / name for name in ("train", "validation"))
    write_events(train, 100, {20: 2.0, 40: 1.0})
    write_events(validation, 100, {40: 1.5})
    write_events(validation, 101, {20: 0.25, 40: 0.5}, tag="validation/mean_iou")
    write_events(train, 102, {40: 0.75}, tag="discriminator/confidence_true")
    write_events(train, 103, {40: 0.875}, tag="semi_supervised/selected_fraction")
    write_events(validation, 102, {40: 0.125}, tag="discriminator/selected_fraction")
    assert [(chart.title, chart.percent, chart.lines) for chart in read_curves(tmp_path)] == [
        (
            "Cross-entropy",
            False,
            (Line("training", (20, 40), (2.0, 1.0)), Line("validation", (40,), (1.5,))),
        ),
        ("Mean IoU", True, (Line("validation", (20, 40), (0.25, 0.5)),)),
        # Not one chart: by --selection they may be as far apart as here.
        ("Pixels in L_semi", True, (Line("training", (40,), (0.875,)),)),
        ("Pixels above T_semi", True, (Line("validation", (40,), (0.125,)),)),
        ("The discriminator's confidence", True, (Line("true labels", (40,), (0.75,)),)),
    ]


def test_lowest_and_highest_leave_out_what_is_no_number():
    line = Line("x", (1, 2, 3, 4), (3.0, math.nan, 1.0, 2.0))
    assert (line.lowest, line.highest) == (1.0, 3.0)
    assert math.isnan(Line("x", (1,), (math.nan,)).lowest)


# Charts


def dashes(svg):
    """The dash patterns of the lines between points: paths that are not filled."""
    styles = re.findall(r'<g id="[^"]*line2d_\d+">\s*<path [^>]*style="([^"]*)"', svg)
    kept = [style for style in styles if "stroke-width: 1.6" in style]
    return [re.search(r"stroke-dasharray: ([^;]*)", style) for style in kept]


def test_lines_of_a_chart_are_told_apart_without_colour_and_named():
    lines = tuple(
        Line(name, (20, 40, 60), (1.0 + n, 2.0, 1.0)) for n, name in enumerate(("a", "b", "c", "d"))
    )
    (chart,) = charts.curve_charts([CurveChart("Losses", "note", False, lines)])
    patterns = [found and found[1] for found in dashes(chart.svg)]
    assert len(patterns) == len(set(patterns)) == 4
    page = read_page(f"<html lang='en'><title>x</title><p id='p'></p>{chart.svg}</html>")
    named = [node.text for node in page.all("text")]
    for line in lines:
        assert line.name in named
    assert "step" in named
    assert chart.summary.startswith("Losses: a goes from 1 at step 20 to 1 at 60; b goes from 2 ")


@pytest.mark.parametrize(
    "values", [(math.nan, math.nan), (1.0, math.inf), (0.5, 0.5), (-1e30, 1e30)]
)
def test_odd_values_are_drawn(values):
    (chart,) = charts.curve_charts([CurveChart("x", "", True, (Line("a", (1, 2), values),))])
    assert "nan" not in re.sub(r"<text.*?</text>", "", chart.svg).lower()


def score(name, right):
    thresholds = [n / 10 for n in range(10)]
    return Score(
        name, tuple(Selection(t, 10 - n, right, 10) for n, t in enumerate(thresholds)), 0.5
    )


def test_charts_of_a_page_share_no_id_and_are_drawn_alike_again():
    reliability = Reliability(score("ours", 1), score("theirs", 1), t_semi=0.2)
    curve = CurveChart("Loss", "", False, (Line("a", (1, 2), (1.0, 2.0)),))

    def draw():
        drawn = [*charts.reliability_charts(reliability), *charts.curve_charts([curve, curve])]
        return "".join(chart.svg for chart in drawn)

    assert draw() == draw()
    read_page(f"<html lang='en'><title>x</title><p id='p'></p>{draw()}</html>")


def test_threshold_of_the_run_is_marked_where_there_is_a_discriminator():
    own, other = score("ours", 1), score("theirs", 1)
    for reliability, marked in (
        (Reliability(own, other, t_semi=0.2), True),
        (Reliability(None, other, t_semi=0.2), False),
    ):
        for chart in charts.reliability_charts(reliability):
            assert ("the run's: 0.2" in chart.svg) == marked
            assert ("ours" in chart.svg) == marked
            assert "theirs" in chart.svg


@pytest.mark.parametrize(("t_semi", "anchor"), [(0.0, "start"), (0.5, "middle"), (0.9, "end")])
def test_mark_of_the_threshold_stays_within_its_chart(t_semi, anchor):
    reliability = Reliability(score("ours", 1), score("theirs", 1), t_semi)
    for chart in charts.reliability_charts(reliability):
        text = f"the run's: {t_semi:g}<"
        (style,) = re.findall(rf'<text style="([^"]*)"[^>]*>{text}', chart.svg)
        assert f"text-anchor: {anchor}" in style
