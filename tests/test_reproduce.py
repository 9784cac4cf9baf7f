"""The results table: which runs it has, and what it says of them."""

import dataclasses
import functools
import json

import pytest
from planned_tables import TINY, finish, plan_table

from tf_advseg import flags
from tf_advseg.data import catalog
from tf_advseg.errors import InputError
from tf_advseg.reproduce import gather, grid, published, settings, write
from tf_advseg.reproduce.published import PUBLISHED


@pytest.fixture
def data_dir(voc_folder):
    return voc_folder(train=8)


@pytest.fixture
def planned(data_dir, tmp_path):
    """planned("--seeds", "0,1", ...) plans a grid over eight training images."""

    return functools.partial(plan_table, data_dir, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("1/8", 0.125), ("0.3", 0.3), ("1", 1.0), ("full", 1.0), ("1/3", 1 / 3), ("1e-1", 0.1)],
)
def test_fractions_are_read_as_people_write_them(text, fraction):
    assert flags.parse_share(text) == fraction


@pytest.mark.parametrize(
    "text",
    ["0", "1.01", "-1/8", "1/0", "half", "", "nan", "inf", "1/inf", "1e400", "1e99999999", "1/2/4"],
)
def test_wrong_fraction_is_refused(text):
    with pytest.raises(InputError, match="--fractions"):
        settings.parse(["--fractions", text])


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (0.125, "1/8"),
        (0.5, "1/2"),
        (1.0, "full"),
        (0.3, "3/10"),
        (1 / 3, "1/3"),
        (0.1234, "0.1234"),
    ],
)
def test_fractions_are_shown_as_people_write_them(fraction, shown):
    assert grid.show_fraction(fraction) == shown


@pytest.mark.parametrize(
    ("flag", "value", "instead"),
    [
        ("--method", "adv", "--methods"),
        ("--labeled_fraction", "0.5", "--fractions"),
        ("--labeled_list", "ids.txt", "--fractions"),
        ("--seed", "3", "--seeds"),
        ("--run_dir", "runs/x", "--output_dir"),
    ],
)
def test_flag_that_differs_between_runs_is_refused(flag, value, instead):
    for arguments in ([flag, value], [f"{flag}={value}"]):
        with pytest.raises(InputError, match=f"{flag} .*allowed: {instead}"):
            settings.parse(arguments)


def test_resume_is_always_on():
    with pytest.raises(InputError, match="--resume is always on"):
        settings.parse(["--resume"])


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--methods", "adv,adv"), ("--methods", "gan"), ("--seeds", "-1"), ("--seeds", "0,0")],
)
def test_wrong_list_is_refused(flag, value):
    with pytest.raises(InputError, match=f"{flag} is '{value}'"):
        settings.parse([flag, value])


def test_grid_has_each_method_fraction_and_seed_once(planned):
    made = planned("--fractions", "1/4,full", "--seeds", "0,1")
    assert [run.title for run in made.runs] == [
        *("baseline 1/4 seed 0", "baseline 1/4 seed 1"),
        *("adv 1/4 seed 0", "adv 1/4 seed 1"),
        *("semi 1/4 seed 0", "semi 1/4 seed 1"),
        # `semi` on full data means nothing.
        *("baseline full seed 0", "baseline full seed 1"),
        *("adv full seed 0", "adv full seed 1"),
    ]
    assert len({run.folder for run in made.runs}) == len(made.runs)
    assert made.labeled_images == {0.25: 2, 1.0: 8}


def test_fraction_without_a_run_keeps_its_column(planned):
    made = planned("--fractions", "1/2,full", "--methods", "semi")
    text = write.markdown(gather.gather(made), "a command")
    assert "| method | 1/2 (4 labeled) | full (8 labeled) |" in text
    assert "| `semi` | not finished | - |" in text


def test_flags_are_checked_with_the_methods_that_are_run(planned):
    # With `semi`, its unlabeled fakes and the coin would contradict each other.
    made = planned("--preset", "authors", "--mixing", "coin_flip", "--methods", "adv")
    assert {run.settings.method for run in made.runs} == {"adv"}


def test_semi_has_a_run_on_full_data_where_images_without_label_are_left(planned, data_dir):
    (data_dir / "SegmentationClass" / "train_3.png").unlink()
    made = planned("--fractions", "full", "--methods", "semi")
    assert [(run.title, run.labeled_images) for run in made.runs] == [("semi full seed 0", 7)]


def test_grid_without_any_run_is_refused(planned):
    with pytest.raises(InputError, match="no image would be unlabeled"):
        planned("--fractions", "full", "--methods", "semi")


def test_flags_of_training_reach_every_run(planned):
    made = planned("--preset", "paper", "--t_semi", "0.3", "--fractions", "1/2", "--seeds", "7")
    for run in made.runs:
        assert run.settings.t_semi == 0.3
        assert run.settings.lambda_adv == 0.01
        assert run.settings.seed == 7
        assert run.settings.steps == 10
        assert run.shown_command.startswith("python train.py --dataset folder --data_dir ")
        assert run.command[1].endswith("train.py")
        assert run.command[2:] == list(run.arguments)


def test_wrong_flag_of_training_is_told_before_any_run(planned):
    with pytest.raises(InputError, match="--t_semi is '2'"):
        planned("--t_semi", "2")
    with pytest.raises(InputError, match=r"unrecognized arguments: --stepps.* mean --steps\?"):
        planned("--stepps", "3")


def test_run_of_other_settings_in_the_folder_is_told_before_any_run(planned):
    arguments = ("--fractions", "1/2", "--t_semi", "0.3")
    run = planned(*arguments).runs[0]
    run.folder.mkdir(parents=True)
    # What a run decides when it begins is no other setting.
    began = dataclasses.replace(run.settings, normalization="caffe", precision="float32")
    (run.folder / "config.json").write_text(flags.to_json(began))
    assert planned(*arguments, "--eval_every", "3").runs[0].settings.t_semi == 0.3
    with pytest.raises(InputError, match=r"--t_semi was 0\.3"):
        planned("--fractions", "1/2", "--t_semi", "0.4")
    # Left out, train.py would go on with the old value, beside new runs with the default.
    with pytest.raises(InputError, match=r"--t_semi would be 0\.7, and was 0\.3 in .*baseline"):
        planned("--fractions", "1/2", "--seeds", "0,1")
    with pytest.raises(InputError, match="--steps would be 20, and was 10"):
        planned(*arguments, "--steps", "20")


def test_damaged_results_are_told(planned):
    run = planned("--fractions", "1/2").runs[0]
    run.folder.mkdir(parents=True)
    for text in ("{}", '{"steps": null}', "[]", "{"):
        (run.folder / "results.json").write_text(text)
        with pytest.raises(InputError, match=r"results\.json"):
            gather.outcome_of(run)
    (run.folder / "results.json").write_text('{"steps": 10}')  # Of an older version, say.
    assert gather.outcome_of(run).mean_iou is None


def test_steps_of_an_interrupted_run_are_known(planned):
    run = planned("--fractions", "1/2").runs[0]
    assert gather.steps_taken(run) == 0
    (run.folder / "checkpoints").mkdir(parents=True)
    for step in (5, 10, 9):
        (run.folder / "checkpoints" / f"step-{step}.index").touch()
    assert gather.steps_taken(run) == 10
    (run.folder / "checkpoints" / "step-20 (copy).index").touch()
    assert gather.steps_taken(run) == 10


def test_only_the_last_step_finishes_a_run(planned):
    first, second, third = planned("--fractions", "1/2").runs
    finish(first, 0.5)
    finish(second, 0.5, steps=9)
    assert gather.outcome_of(first).mean_iou == 0.5
    assert gather.outcome_of(second) is None
    assert gather.outcome_of(third) is None


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
    assert "`a command`" in text
    assert "of the last step" in text
    assert "compare with" not in text


def test_table_of_other_images_says_so(planned):
    made = planned("--fractions", "1/2", "--methods", "baseline")
    finish(made.runs[0], 0.5, protocol="random crops resized to 321x321")
    text = write.markdown(gather.gather(made), "a command")
    assert "Measured on random crops resized to 321x321: compare with numbers of that kind" in text


@pytest.fixture
def voc_table(data_dir, tmp_path, monkeypatch):
    """A table over a data set that has VOC's name and lists, and is taken to have its size."""
    voc = dataclasses.replace(PUBLISHED[0], training_images=8, validation_images=3)
    monkeypatch.setattr(published, "PUBLISHED", (voc,))
    names = json.loads((data_dir / "classes.json").read_text())
    (data_dir / "classes.json").write_text(json.dumps({**names, "name": "voc2012"}))
    lists = data_dir / "ImageSets" / "Segmentation"
    (lists / "train_aug.txt").write_text((lists / "train.txt").read_text())
    own, rest = settings.parse(
        ["--dataset", "folder", "--data_dir", str(data_dir), "--train_split", "train_aug", *TINY]
        + ["--fractions", "1/2,full,1/4", "--output_dir", str(tmp_path / "out")]
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
def test_other_data_and_other_lists_have_no_published_numbers(other, data_dir, monkeypatch):
    dataset = catalog.folder(data_dir)
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


def test_all_rows_of_a_plot_look_different():
    from tf_advseg.reproduce import plot, rows

    styles = [plot.style_of(row) for row in range(len(rows.ROWS))]
    assert len(set(styles)) == len(styles)


def test_first_rows_of_a_plot_differ_without_colour_too():
    from tf_advseg.reproduce import plot

    colors, markers = zip(*(plot.style_of(row) for row in range(8)))
    assert len(set(colors)) == len(set(markers)) == 8
