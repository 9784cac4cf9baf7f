"""The command of the long checks: its figures, its file, and its exit code."""

import dataclasses
import json
import sys

import pytest

from tests.soak import __main__ as soak
from tf_advseg import cli


@dataclasses.dataclass(frozen=True)
class Figures:
    seed: int
    empty: bool
    found: tuple[str, ...]


@pytest.fixture
def soaked(monkeypatch, capsys):
    """Runs the command with parts that find what they are told to; returns code and lines."""

    def run(*arguments, found=((), ())):
        parts = {
            name: soak.Part(
                lambda settings, folder, lines=lines: Figures(
                    settings.seed, folder.parent.is_dir() and not folder.exists(), lines
                ),
                lambda figures: list(figures.found),
            )
            for name, lines in zip(("fuzz", "growth"), found)
        }
        monkeypatch.setattr(soak, "PARTS", parts)
        monkeypatch.setattr(sys, "argv", ["soak", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.run(soak.main)
        out, err = capsys.readouterr()
        return ended.value.code, out.splitlines(), err

    return run


def test_every_part_runs_in_an_empty_folder_and_is_written(soaked, tmp_path):
    code, lines, _ = soaked("--seed", 7, "--output", tmp_path / "figures.json")
    assert (code, lines[-1]) == (0, "nothing found")
    written = json.loads((tmp_path / "figures.json").read_text())
    expected = {"seed": 7, "empty": True, "found": [], "problems": []}
    assert written == {"fuzz": expected, "growth": expected}


def test_one_part_and_what_it_found(soaked, tmp_path):
    code, lines, _ = soaked(
        *("--part", "growth", "--output", tmp_path / "figures.json"), found=((), ("a", "b"))
    )
    assert (code, lines[-3:]) == (1, ["growth found: a", "growth found: b", "2 problems"])
    assert json.loads((tmp_path / "figures.json").read_text())["growth"]["problems"] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--part", "kill"), "--part"),
        (("--inputs", "0"), "--inputs"),
        (("--part", "fuzz", "--output", "no/such/folder/a.json"), "--output"),
    ],
)
def test_wrong_flags_end_with_code_2(soaked, arguments, word):
    code, _, errors = soaked(*arguments)
    assert code == 2
    assert errors.startswith("error: ") and word in errors


def test_figures_of_the_real_parts_give_their_problems():
    from tests.soak.fuzz import Failure, FuzzFigures
    from tests.soak.growth import Drift, GrowthFigures

    fuzzed = FuzzFigures(2, 1, 0, {}, (Failure("list", 5, "a.txt: KeyError"),))
    assert soak.PARTS["fuzz"].problems(fuzzed) == ["list, --seed 5: a.txt: KeyError"]
    flat = Drift(20, 600, (790.0,), (800.0,), 0.0, 1.0, (7, 7), 0.0, (15, 15), 0.0)
    grown = GrowthFigures(9, flat, 9, 9, dataclasses.replace(flat, files=(4, 400)))
    [line] = soak.PARTS["growth"].problems(grown)
    assert line.startswith("serving: files went from 4 to 400")
