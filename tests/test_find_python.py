"""tools/find_python.sh must pick an interpreter by running it, not by its name."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "find_python.sh"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="a POSIX shell script")

# A version manager's launcher whose version is not installed.
BROKEN = "echo 'python3.11: command not found' >&2; exit 1"
# Something that answers whatever it is asked, with success.
CHATTY = "echo 'Python 3.11.4'"


def real(*, version=None, without=None):
    """The shell line that runs the Python of these tests, told to pose as another."""
    pose = ["import sys"]
    if version:
        pose.append(f"sys.version_info = ({version[0]}, {version[1]}, 1, 'final', 0)")
    if without:
        pose.append(f"sys.modules[{without!r}] = None")
    # The script calls `python -c CODE`, so the code is the second argument.
    start = shlex.quote("; ".join(pose) + "\n")
    return f'exec {shlex.quote(sys.executable)} -c {start}"$2"'


PY311 = real(version=(3, 11))
PY310 = real(version=(3, 10))
PY312 = real(version=(3, 12))
PY39 = real(version=(3, 9))
NO_ENSUREPIP = real(version=(3, 11), without="ensurepip")
NO_VENV = real(version=(3, 11), without="venv")


@pytest.fixture
def fake(tmp_path):
    """Write an executable script at a path under tmp_path and return that path."""

    def write(path, line):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"#!/bin/sh\n{line}\n")
        target.chmod(0o755)
        return str(target)

    return write


@pytest.fixture
def find(tmp_path):
    """Run the script with PATH and PYTHON_SEARCH_PATH made of folders under tmp_path."""

    def run(path=(), search=(), **variables):
        environment = {
            "PATH": ":".join(str(tmp_path / folder) for folder in path),
            "PYTHON_SEARCH_PATH": ":".join(str(tmp_path / folder) for folder in search),
            "HOME": str(tmp_path / "home"),
            **variables,
        }
        return subprocess.run(
            ["/bin/sh", str(SCRIPT)],
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def assert_found(result, expected):
    assert result.stderr == ""
    assert result.stdout == expected + "\n"
    assert result.returncode == 0


def test_wrapper_around_the_running_python_is_found(fake, find):
    good = fake("bin/python3", f'exec {shlex.quote(sys.executable)} "$@"')
    assert_found(find(path=["bin"]), good)


def test_failing_launcher_is_passed_over_for_a_later_match_on_path(fake, find):
    fake("shims/python3.11", BROKEN)
    good = fake("bin/python3.11", PY311)
    assert_found(find(path=["shims", "bin"]), good)


@pytest.mark.parametrize(
    "bad",
    [BROKEN, CHATTY, PY312, PY39, NO_ENSUREPIP, NO_VENV],
    ids=["broken", "chatty", "3.12", "3.9", "no ensurepip", "no venv"],
)
def test_name_proves_nothing(fake, find, bad):
    fake("first/python3.11", bad)
    good = fake("second/python", PY311)
    assert_found(find(path=["first", "second"]), good)


def test_311_in_a_searched_folder_wins_over_310_on_path(fake, find):
    fake("bin/python3.10", PY310)
    good = fake("versions/3.11.7/bin/python3", PY311)
    assert_found(find(path=["bin"], search=["versions/*/bin"]), good)


def test_310_is_taken_when_there_is_no_311(fake, find):
    fake("bin/python3", PY312)
    good = fake("versions/3.10.13/bin/python3", PY310)
    assert_found(find(path=["bin"], search=["empty", "versions/*/bin"]), good)


def test_usual_places_are_searched_under_home(fake, find, tmp_path):
    # A folder with a space in its name must not be split.
    home = "a home"
    fake(f"{home}/.pyenv/versions/3.12.1/bin/python3", PY312)
    good = fake(f"{home}/.pyenv/versions/3.11.7/bin/python3.11", PY311)
    result = find(HOME=str(tmp_path / home), PYTHON_SEARCH_PATH=None)
    assert_found(result, good)


def test_named_python_is_used_even_when_it_is_310(fake, find):
    fake("bin/python3.11", PY311)
    named = fake("elsewhere/my-python", PY310)
    assert_found(find(path=["bin"], PYTHON=named), named)


def test_named_python_may_be_a_bare_name(fake, find):
    fake("bin/python3.11", PY311)
    named = fake("bin/my-python", PY310)
    assert_found(find(path=["empty", "bin"], PYTHON="my-python"), named)


def test_named_python_that_does_not_work_is_reported(fake, find):
    good = fake("bin/python3.11", PY311)
    named = fake("elsewhere/python3.11", BROKEN)
    result = find(path=["bin"], PYTHON=named)
    assert result.returncode == 0
    assert result.stdout == good + "\n"
    assert named in result.stderr


def test_what_cannot_be_run_is_not_looked_at(fake, find, tmp_path):
    (tmp_path / "bin" / "python3.11").mkdir(parents=True)
    (tmp_path / "bin" / "python3.10").write_text("not executable")
    good = fake("bin/python3", PY311)
    assert_found(find(path=["bin"]), good)


def test_none_gives_one_line_that_says_what_to_do(fake, find):
    fake("shims/python3.11", BROKEN)
    fake("bin/python3", PY312)
    # The same folder twice: an interpreter counts once.
    result = find(path=["shims", "bin", "bin"], search=["bin", "empty"])
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        "no working Python 3.10 or 3.11 with venv found (looked at 2); install one, "
        "e.g. `apt install python3.11 python3.11-venv`, or set PYTHON=/path/to/python3.11\n"
    )


def test_nothing_anywhere(find):
    result = find()
    assert result.returncode == 1
    assert "looked at 0" in result.stderr
