"""Rows of a table with flags of their own, and the differences between rows."""

import dataclasses

import pytest
from planned_tables import finish

from tf_advseg import config
from tf_advseg.presets import PRESETS
from tf_advseg.reproduce import gather, write
from tf_advseg.reproduce.rows import BALANCING, PUBLISHED, ROWS
from tf_advseg.train_options import TrainConfig


def test_rows_are_the_papers_unless_told_otherwise(planned):
    assert [run.row for run in planned("--fractions", "1/2").runs] == list(PUBLISHED)


@pytest.mark.parametrize("name", ROWS)
def test_each_rows_flags_are_train_pys_and_win_over_the_tables(name, planned):
    [run] = planned("--fractions", "1/2", "--methods", name, "--ema_decay", "0.5").runs
    assert run.settings.method == ROWS[name].method
    assert run.folder.name == f"{name}-0.5-seed0"
    assert run.title == f"{name} 1/2 seed 0"
    assert config.train_config(list(run.arguments)) == run.settings
    own = dict(zip(ROWS[name].flags[::2], ROWS[name].flags[1::2], strict=True))
    assert run.settings.ema_decay == float(own.get("--ema_decay", "0.5"))


def test_published_row_has_the_papers_value_wherever_the_default_preset_has_another(planned):
    [run] = planned("--fractions", "1/2", "--methods", "semi_published").runs
    assert run.settings.preset == "default"
    # Only the selection by probability, which this row does not use, is not set back.
    for name in set(PRESETS["default"]) - {"t_probability"}:
        assert getattr(run.settings, name) == getattr(TrainConfig, name), name
    assert run.settings.selection == "confidence"


def test_balanced_rows_are_the_published_one_but_for_one_option(planned):
    names = [f"semi_{name}" for name in BALANCING]
    runs = planned("--fractions", "1/2", "--methods", ",".join(["semi_published", *names])).runs
    published, *others = (dataclasses.asdict(run.settings) for run in runs)
    changed = [
        {key for key, value in other.items() if value != published[key]} - {"run_dir"}
        for other in others
    ]
    options = [option.removeprefix("--") for flags in BALANCING.values() for option in flags]
    assert changed == [{option} for option in options]


def test_differences_are_of_the_same_seeds(planned):
    made = planned(
        "--fractions", "1/2,full", "--methods", "baseline,baseline_raw,semi", "--seeds", "0,1,2"
    )
    scores = {
        ("baseline", 0): 0.50, ("baseline", 1): 0.60, ("baseline", 2): 0.70,
        ("baseline_raw", 0): 0.52, ("baseline_raw", 1): 0.61, ("baseline_raw", 2): 0.76,
        ("semi", 1): 0.55,
    }  # fmt: skip
    for run in made.runs:
        if run.settings.labeled_fraction == 0.5 and (run.row, run.settings.seed) in scores:
            finish(run, scores[run.row, run.settings.seed])
    table = gather.gather(made)
    cells = {row: table.cells[row, 0.5] for row in table.rows}
    # Gains 2, 1 and 6 points: mean 3, deviation sqrt(7), over the root of 3.
    found = gather.difference(cells["baseline_raw"], cells["baseline"])
    assert (found.mean, found.standard_error) == pytest.approx((0.03, (7 / 3) ** 0.5 / 100))
    assert found.seeds == 3
    alone = gather.difference(cells["semi"], cells["baseline"])
    assert (alone.mean, alone.standard_error, alone.seeds) == (pytest.approx(-0.05), None, 1)
    text = write.markdown(table, "a command")
    assert "| difference, % | 1/2 | full |" in text
    assert "| `baseline_raw` - `baseline` | +3.00 ± 1.53 | - |" in text
    assert "| `semi` - `baseline` | -5.00 (1 of 3) | - |" in text


def test_nothing_is_told_of_differences_where_there_are_none(planned):
    made = planned("--fractions", "1/2", "--methods", "baseline,semi")
    finish(made.runs[0], 0.5)
    assert "Differences" not in write.markdown(gather.gather(made), "a command")
