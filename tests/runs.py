"""Runs of the real scripts that tests inspect: in processes of their own, or in this one."""

import dataclasses
import fcntl
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from tests.folders import make_voc_folder
from tf_advseg.reproduce.rows import ROWS

ROOT = Path(__file__).resolve().parents[1]

#: The variable that names the folder of the shared run to every test process.
SHARED_FOLDER = "TF_ADVSEG_TESTS_FOLDER"
#: Settings of small runs that a test may want smaller still.
TINY = ("--backbone", "small", "--crop_size", "33,49", "--batch_size", "2")
STEPS = 40
#: The paper's method beside the preset `default`.
AS_PUBLISHED = ("--method", "semi", *ROWS["semi_published"].flags)
#: The shared run. L_semi starts in the middle, so that the curves show both halves.
SHARED = (
    *("--dataset", "folder", "--labeled_fraction", "0.7", *TINY, *AS_PUBLISHED),
    *("--steps", str(STEPS), "--eval_every", "20", "--semi_start", "20", "--t_semi", "0.45"),
    *("--learning_rate", "0.02", "--discriminator_learning_rate", "1.5e-4", "--seed", "3"),
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    data_dir: Path
    cache: Path
    stdout: str

    def read(self, name: str) -> Any:
        """Returns the content of a JSON file of the run folder."""
        return json.loads((self.folder / name).read_text("utf-8"))


@functools.cache
def shared_run() -> Run:
    """Trains SHARED once in a process of its own, for all tests. Leave it as it is.

    Where several processes run tests, the first to need it trains it, and the others wait.
    """
    folder = Path(os.environ[SHARED_FOLDER])
    data_dir, cache, printed = folder / "streets", folder / "cache", folder / "stdout.txt"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            shutil.rmtree(data_dir, ignore_errors=True)  # Of a process that could not train it.
            make_voc_folder(data_dir, train=7, val=3)
            done = script(
                "train",
                *SHARED,
                *("--profile", "30:33", "--data_dir", data_dir, "--run_dir", folder / "run"),
                env={"TF_ADVSEG_CACHE": str(cache)},
            )
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout)
    return Run(folder / "run", data_dir, cache, printed.read_text())


def copy_of(run: Run, folder: Path) -> Path:
    """Copies a run's folder, for a test that changes it, and returns the copy."""
    return Path(shutil.copytree(run.folder, folder))


def script(
    name: str, *args: object, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess:
    """Runs `python NAME.py ARGS` in the project's folder, to its end."""
    return subprocess.run(
        command(name, *args),
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def command(name: str, *args: object) -> list[str]:
    """Returns the command line that runs a script."""
    return [sys.executable, f"{name}.py", *map(str, args)]


def call(name: str, *args: object) -> int:
    """Runs a script's main in this process, which has TensorFlow loaded; returns its exit code."""
    from tf_advseg import cli

    main = importlib.import_module(name).main
    with mock.patch.object(sys, "argv", [f"{name}.py", *map(str, args)]):
        try:
            cli.run(main)
        except SystemExit as end:
            return end.code


def fails_with(capsys: Any, name: str, *args: object, says: str | tuple[str, ...]) -> None:
    """Checks that a script ends with code 2 and one line that holds each of the given words."""
    assert call(name, *args) == 2
    one_line(capsys.readouterr().err, says)


def one_line(stderr: str, says: str | tuple[str, ...]) -> None:
    """Checks that the last line is an error that holds each of the given words."""
    assert "Traceback" not in stderr
    line = stderr.splitlines()[-1]
    assert line.startswith("error: ")
    for word in (says,) if isinstance(says, str) else says:
        assert word in line, line
