"""Exit codes and the one line that tells a user's mistake."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tf_advseg import cli
from tf_advseg.data.images import image_size
from tf_advseg.errors import InputError, Interrupted

ROOT = Path(__file__).resolve().parents[1]


def exit_code(main):
    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    return caught.value.code


def raising(error):
    def main():
        raise error

    return main


def run_python(code):
    """Runs `code` in a process of its own, in the project's folder."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_success_exits_0(capsys):
    assert exit_code(lambda: print("done")) == 0
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (KeyboardInterrupt(), 130),
        (Interrupted(signal.SIGINT), 130),
        (Interrupted(signal.SIGTERM), 143),
        (SystemExit(0), 0),
    ],
)
def test_how_work_ends_gives_the_exit_code(error, code):
    assert exit_code(raising(error)) == code


@pytest.mark.parametrize("message", ["plain", "with\nline\n breaks", "  spaces  \t around "])
def test_input_error_is_one_line_last_on_stderr(message, capsys):
    def main():
        print("earlier", file=sys.stderr)
        raise InputError(message)

    assert exit_code(main) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines == ["earlier", "error: " + " ".join(message.split())]


def test_anything_else_exits_1_with_a_traceback():
    result = run_python(
        "from tf_advseg import cli\ndef main(): raise ValueError('of ours')\ncli.run(main)"
    )
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ValueError: of ours" in result.stderr


def test_input_error_has_no_traceback_in_a_real_process():
    result = run_python(
        "from tf_advseg import cli, errors\n"
        "def main(): raise errors.InputError('a é wrong flag')\ncli.run(main)"
    )
    assert result.returncode == 2
    assert result.stderr == "error: a é wrong flag\n"


def test_log_level_of_the_user_wins(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    cli.quiet_libraries()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    cli.quiet_libraries()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"


def test_number_that_is_none_is_told_in_one_line(capsys):
    assert exit_code(raising(FloatingPointError("step 3: loss is not finite"))) == 1
    assert capsys.readouterr().err == "error: step 3: loss is not finite\n"


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_signal_ends_a_process_with_its_code(name, code):
    ended = run_python(f"""
import os, signal
from tf_advseg import cli
from tf_advseg.data.images import image_size
cli.run(lambda: os.kill(os.getpid(), signal.{name}) or 1 / 0)
""")
    assert (ended.returncode, ended.stderr) == (code, "")


def test_closed_terminal_is_ignored_where_it_was_before():
    ended = run_python("""
import os, signal
from tf_advseg import cli
from tf_advseg.data.images import image_size
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup does.
cli.run(lambda: os.kill(os.getpid(), signal.SIGHUP))
""")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted(signal.SIGTERM)])
def test_stopped_work_says_how_to_go_on(error, capsys):
    with pytest.raises(SystemExit):
        cli.run(raising(error), stopped="the same command goes on")
    assert capsys.readouterr() == ("the same command goes on\n", "")


def test_large_image_that_is_taken_warns_of_nothing(tmp_path, recwarn):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "large.png")
    cli.quiet_libraries()
    assert image_size(tmp_path / "large.png") == (10_000, 10_000)
    assert len(recwarn) == 0


def test_terminal_without_a_script_gets_escapes():
    code = "from tf_advseg import cli\ncli.run(lambda: print('Straße 日本 é'))"
    command = [sys.executable, "-c", code]
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60, check=True)
    assert done.stdout == b"Stra\xdfe \\u65e5\\u672c \xe9\n"
