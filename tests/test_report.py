"""The report of an evaluation by a made-up model, read back from its page and its Markdown."""

import dataclasses
import math
import re

import numpy as np
import pytest
from PIL import Image

from tests.made_evaluations import CLASSES, NAMES, SIZE, WRONG, evaluate
from tests.report_pages import read_markdown, read_page, read_table
from tests.test_report_curves import write_events
from tf_advseg.data.classes import Classes
from tf_advseg.errors import InputError
from tf_advseg.evaluation.protocols import Protocol
from tf_advseg.options import EvaluateConfig
from tf_advseg.report import gather, html, markdown, write


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    done = evaluate(folder)
    write_events(folder / "tensorboard" / "train", 100, {20: 2.0, 40: 1.0})
    write_events(
        folder / "tensorboard" / "validation", 100, {20: 0.25, 40: 0.5}, tag="validation/mean_iou"
    )
    return done


@pytest.fixture(scope="module")
def report(evaluation):
    return gather.gather(evaluation)


@pytest.fixture(scope="module")
def page(report):
    return read_page(html.page(report))


@pytest.fixture(scope="module")
def told(report):
    """The tables of the Markdown."""
    return read_markdown(markdown.text(report, "report.html"))


PIXELS = 7 * SIZE * SIZE
ALL_WRONG = sum(count or 0 for count in WRONG.values())
SKY_IOU = (PIXELS - ALL_WRONG) / PIXELS
MEAN_IOU = SKY_IOU / 2  # The IoU of <b>& is 0, and the others are absent.


def own_mean_iou(count):
    """Of an image with so many wrong pixels; class <b>& has the IoU 0 where it occurs."""
    return (SIZE**2 - count) / SIZE**2 / (2 if count else 1)


# Numbers


def test_measures_are_those_of_the_results(evaluation, page, told):
    values = evaluation.values
    assert values["mean_iou"] == pytest.approx(MEAN_IOU)
    keys = ("mean_iou", "pixel_accuracy", "best_mean_iou", "selected_fraction", "selected_accuracy")
    shown = [float(n.attributes["value"]) for n in page.by_id("summary").all("data")]
    assert shown == [values[key] for key in keys]
    assert [row[1] for row in told["measure"][1:]] == [f"{100 * values[k]:.2f} %" for k in keys]
    texts = [node.text for node in page.by_id("summary").all("data")]
    assert texts == [row[1] for row in told["measure"][1:]]


def test_summary_says_what_was_evaluated(page, told):
    expected = {
        "data set": "<i>set",
        "split": "val, 8 images",
        "protocol": "full images",
        "run": "run",
        "model": "the checkpoint of step 180, of 200",
        "method": "semi",
        "seed": "3",
        "labeled images": "4",
        "unlabeled images": "unknown",
    }
    facts, flags, trained = page.by_id("summary").all("table", "facts")
    assert dict(read_table(facts)) == expected
    assert dict(told[""][1:]) == expected
    assert dict(read_table(flags)) == {
        "--checkpoint": "last",
        "--split": "val",
        "--eval_protocol": "full",
        "--void_as_background": "false",
        "--scales": "1",
        "--flip": "false",
    }
    assert dict(read_table(trained))["--t_semi"] == "0.45"
    assert page.one("title").text == "<i>set, val: semi, step 180"
    assert not list(page.all("p", "warning"))


def test_unusual_protocol_is_warned_of(tmp_path):
    settings = EvaluateConfig(run_dir="x", saved_model="exports/x", split="test")
    protocol = Protocol("padded", (9, 12), void_class=0)
    done = evaluate(tmp_path / "run", protocol=protocol, settings=settings)
    done = dataclasses.replace(done, subject=dataclasses.replace(done.subject, step=None))
    made = gather.gather(done)
    page = read_page(html.page(made))
    warning = page.one("p", "warning").text
    assert "images padded to 9x12, void counted as background" in warning
    assert "compare with numbers of that kind only" in warning
    assert f"**{made.warning}**" in markdown.text(made, "x").splitlines()
    facts, flags, _ = page.by_id("summary").all("table", "facts")
    assert dict(read_table(facts))["model"] == "an export of the run, which took 180 of 200 steps"
    assert dict(read_table(flags)) == {
        "--saved_model": "exports/x",
        "--split": "test",
        "--eval_protocol": "padded",
        "--eval_size": "9,12",
        "--void_as_background": "true",
    }


def test_export_of_a_run_that_is_not_finished_is_said_to_be_one(tmp_path):
    done = evaluate(tmp_path / "run", wrong={"a": 3})
    subject = dataclasses.replace(done.subject, step=None)
    made = gather.gather(
        dataclasses.replace(done, subject=subject, values=done.values | {"steps": None})
    )
    facts = {fact.name: fact.value for fact in made.facts}
    assert facts["model"] == "an export of the run of 200 steps, which is not finished"


def test_classes_have_bars_and_absent_ones_are_said_to_be(evaluation, page, told):
    rows = read_table(page.one("table", "bars"))
    shares = [(PIXELS - ALL_WRONG) / PIXELS, ALL_WRONG / PIXELS, 0, 0]
    absent = "absent: in neither truth nor prediction"
    assert rows[1:] == [
        [f"{n} {name}", iou, f"{100 * share:.2f} %"]
        for n, (name, iou, share) in enumerate(
            zip(NAMES, [f"{100 * SKY_IOU:.2f} %", "0.00 %", absent, absent], shares)
        )
    ]
    ious = [float(node.attributes["value"]) for node in page.one("table", "bars").all("data")]
    assert ious == [iou for iou in evaluation.values["per_class_iou"].values() if iou is not None]
    assert [row[0] for row in told["class"][1:]] == list(NAMES)
    assert [row[2] for row in told["class"][1:]] == [rows[1][1], "0.00 %", "absent", "absent"]
    colors = [n.attributes["style"] for n in page.one("table", "bars").all("span", "swatch")]
    shown = ("010203", "c80000", "00c800", "0000c8")
    assert colors == [f"background:#{color}" for color in shown]


def test_confusion_matrix_and_the_largest_confusions(page, told, report):
    rows = read_table(page.one("table", "matrix"))
    assert rows[0] == ["true \\ predicted", *(f"{n} {name}" for n, name in enumerate(NAMES))]
    assert rows[1:] == [
        ["0 sky", "100", "0", "0", "0"],
        ["1 <b>&", "100", "0", "0", "0"],
        ["2 never", "no pixels"],
        ["3 a|b*_c_", "no pixels"],
    ]
    assert told["true class"][1:3] == rows[1:3]
    assert told["true class"][3] == ["2 never", "-", "-", "-", "-"]
    sentence = "<b>& is taken for sky: 100 % of its pixels"
    assert [node.text for node in page.one("ul", "confusions").all("li")] == [sentence]
    assert r"- \<b\>\& is taken for sky: 100 % of its pixels" in markdown.text(report, "x")


@pytest.mark.parametrize("num_classes", [2, 3, 21])
def test_rows_of_the_confusion_matrix_are_100_percent(evaluation, report, num_classes):
    confusion = np.random.default_rng(num_classes).integers(0, 10**6, [num_classes] * 2)
    names = tuple(f"c{n}" for n in range(num_classes))
    classes = Classes("x", names, ((0, 0, 0),) * num_classes)
    scores = dataclasses.replace(evaluation.evaluated.scores, confusion=confusion)
    made = dataclasses.replace(
        report,
        classes=gather.class_scores(scores, classes),
        confusion=gather.row_shares(confusion),
        confusions=gather.largest_confusions(confusion, names),
    )
    from_page = read_table(read_page(html.page(made)).one("table", "matrix"))
    from_markdown = read_markdown(markdown.text(made, "x"))["true class"]
    for rows in (from_page, from_markdown):
        cells = np.array([row[1:] for row in rows[1:]], int)
        shares = 100 * confusion / confusion.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(cells, shares, atol=0.5 + 1e-9)
        assert np.abs(cells.sum(axis=1) - 100).max() <= num_classes / 2
    off = shares - np.diag(np.diag(shares))
    found = [item.share * 100 for item in made.confusions]
    assert found == pytest.approx(sorted(off[off >= 1], reverse=True)[:6])
    worst = np.unravel_index(off.argmax(), off.shape)
    assert (made.confusions[0].true, made.confusions[0].predicted) == tuple(names[n] for n in worst)


def test_numbers_in_the_matrix_are_legible_on_their_shades():
    def luminance(color):
        parts = [c / 255 for c in color]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    before = 2.0
    for percent in range(101):
        back, ink = (luminance(f(percent / 100)) for f in (html.shade, html.text_color))
        assert (max(back, ink) + 0.05) / (min(back, ink) + 0.05) >= 4.5, percent
        assert back < before  # Darker with each percent, so that grey is enough.
        before = back


# Images


def test_best_median_and_worst_images_with_their_scores(page, told):
    chosen = ["a<b>", "b", "c", "d", "g", "f"]
    scores = [own_mean_iou(WRONG[name]) for name in chosen]
    section = page.by_id("images")
    titles = [node.text for node in section.all("h3")]
    assert titles == ["Best", "Median", "Worst"]
    headings = [node.text for node in section.all("h4")]
    assert headings == [f"{n}: mean IoU {100 * s:.2f} %" for n, s in zip(chosen, scores)]
    exact = [float(node.attributes["value"]) for node in section.all("data")]
    assert exact == pytest.approx(scores)
    kinds = ["Best"] * 2 + ["Median"] * 2 + ["Worst"] * 2
    assert told["image"][1:] == [
        [name, kind, f"{100 * s:.2f} %"] for name, kind, s in zip(chosen, kinds, scores)
    ]
    assert "without a score: 1." in section.text


def test_pictures_are_those_of_their_own_images(evaluation, report):
    for group in report.images:
        for shown in group.images:
            position = evaluation.files.ids.index(shown.image_id)
            with Image.open(evaluation.files.labels[position]) as label:
                expected = gather.figures.strip(
                    *(np.zeros((SIZE, SIZE, 3)), np.asarray(label), np.zeros((SIZE, SIZE), int)),
                    *(np.zeros((SIZE, SIZE)), CLASSES.colors),
                )
            assert [picture.data for picture in shown.pictures[1:4]] == [
                picture.data for picture in expected[1:4]
            ]


def test_pictures_are_said_in_words_and_classes_are_numbered(page):
    figures = list(page.by_id("images").all("figure"))
    assert len(figures) == 6 * 5
    assert [figure.one("figcaption").text for figure in figures[:5]] == [
        *("input", "truth", "prediction", "error", "confidence")
    ]
    assert figures[1].one("img").attributes["alt"] == "truth of a<b>"
    legend, other = page.by_id("images").all("ul", "legend")
    assert [node.text for node in legend.all("li")] == [
        *(f"{n} {name}" for n, name in enumerate(NAMES)),
        "void: has no class",
    ]
    for word in ("right (light)", "wrong (dark)", "void", "the discriminator's confidence"):
        assert word in other.text


@pytest.mark.parametrize("images", [1, 2, 3])
def test_few_images_are_shown_once(tmp_path, images):
    wrong = {f"n{count}": count for count in range(images)}
    made = gather.gather(evaluate(tmp_path / "run", wrong=wrong))
    shown = [image.image_id for group in made.images for image in group.images]
    assert sorted(shown) == sorted(wrong)
    assert [group.title for group in made.images] == [
        *(["Best"], ["Best", "Worst"], ["Best", "Median", "Worst"])
    ][images - 1]
    read_page(html.page(made))


def test_split_without_a_labeled_pixel_has_a_report(tmp_path):
    made = gather.gather(evaluate(tmp_path / "run", wrong={"a": None, "b": None}))
    page = read_page(html.page(made))
    assert made.images == ()
    shown = [node.text for node in page.one("dl").all("dd")]
    assert shown == ["none", "none", "87.50 %", "none", "none"]
    assert "without a score: 2." in page.by_id("images").text
    assert "all pixels are of one kind" in page.by_id("confidence").text
    assert read_markdown(markdown.text(made, "x"))["measure"][1] == ["mean IoU", "none"]


# Confidence and training


def test_selections_are_those_of_the_results(evaluation, page, told):
    selection = evaluation.values["selection"]
    rows = read_table(page.one("table", "numbers"))[2:]
    assert len(rows) == len(selection) == 11
    for row, kept, line in zip(rows, selection, told["T_semi"][1:], strict=True):
        right = kept["accuracy"]
        shown = "none" if math.isnan(right) else f"{100 * right:.1f} %"
        assert row[:3] == [f"{kept['t_semi']:g}", f"{100 * kept['fraction']:.1f} %", shown]
        assert line == row
    probability = evaluation.evaluated.scores.probability.selections()
    assert [row[3] for row in rows] == [f"{100 * kept.fraction:.1f} %" for kept in probability]
    text = page.by_id("confidence").text
    values = evaluation.values
    for key in ("confidence_auc", "probability_auc"):
        assert f"{values[key]:.4f}" in text
    kept = f"keeps {100 * values['selected_fraction']:.2f} %"
    assert f"T_semi of 0.45, the discriminator's confidence {kept}" in text


def test_run_without_discriminator_has_the_probability_only(tmp_path):
    made = gather.gather(evaluate(tmp_path / "run", selects=False))
    page = read_page(html.page(made))
    text = page.by_id("confidence").text
    assert "The run has no discriminator" in text
    assert "discriminator's" not in text
    assert len(read_table(page.one("table", "numbers"))[2]) == 3
    assert [node.text for node in page.one("dl").all("dt")] == [
        *("mean IoU", "pixel accuracy", "best mean IoU in training")
    ]
    assert "(bright), the largest probability" in page.by_id("images").text
    heading = read_markdown(markdown.text(made, "x"))["T_semi"][0]
    assert heading == ["T_semi", "kept by the largest probability", "of these right"]


def test_training_curves_are_drawn_and_told(page, told):
    charts = list(page.by_id("training").all("figure"))
    assert [chart.one("h3").text for chart in charts] == ["Cross-entropy", "Mean IoU"]
    summaries = [chart.one("div").attributes["aria-label"] for chart in charts]
    assert "from 2 at step 20 to 1 at 40" in summaries[0]
    assert "from 25.00 % at step 20 to 50.00 % at 40" in summaries[1]
    assert told["curve"][1:] == [
        ["Cross-entropy, training", "20", "2", "40", "1", "1", "2"],
        ["Mean IoU, validation", "20", "25.00 %", "40", "50.00 %", "25.00 %", "50.00 %"],
    ]


def test_missing_curves_are_said_to_be(tmp_path):
    done = evaluate(tmp_path / "run")
    made = gather.gather(done)
    assert "no folder tensorboard" in read_page(html.page(made)).by_id("training").text
    assert "no folder tensorboard" in markdown.text(made, "x")
    (tmp_path / "run" / "tensorboard").mkdir()
    assert "tensorboard holds no curve" in gather.gather(done).missing_curves


# Files


def test_reports_of_equal_evaluations_are_equal(evaluation, tmp_path):
    texts = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        values = evaluation.values | {"images_per_second": float(len(texts))}
        again = dataclasses.replace(evaluation, values=values)
        path = write.write(gather.gather(again), tmp_path / name)
        assert path == tmp_path / name / "report.html"
        texts.append([(tmp_path / name / f"report.{kind}").read_bytes() for kind in ("html", "md")])
    assert texts[0] == texts[1]
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.html", "report.md"]


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_file_that_cannot_be_written_is_named(report, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=re.escape(f"cannot write {tmp_path / name}: ")):
        write.write(report, tmp_path)
