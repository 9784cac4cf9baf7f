"""A preparation that is killed and begun again must end as one that never was."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.archives_made import Cityscapes, Voc, content_of
from tests.runs import ROOT

#: The command, which ends itself by a signal at the N-th file: before or after it gets its name.
DRIVER = """
import os, pathlib, sys
number, count, when = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
replace, done = pathlib.Path.replace, 0
def counting(self, target):
    global done
    done += 1
    if done == count and when == "before":
        os.kill(os.getpid(), number)
    result = replace(self, target)
    if done == count and when == "after":
        os.kill(os.getpid(), number)
    return result
pathlib.Path.replace = counting
sys.argv = ["prepare", *sys.argv[4:]]
from tf_advseg import cli
from tf_advseg.data.prepare.__main__ import main
cli.run(main)
"""
SEED = 1


def started(arguments):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(arguments):
    """Runs Python to its end and returns its exit code and stderr without warnings."""
    process = started(arguments)
    errors = process.communicate(timeout=60)[1].splitlines()
    return process.returncode, [line for line in errors if not line.startswith("warning: ")]


def whole(flags, folder):
    """Returns the content of a folder that is prepared at one go."""
    command = ["-m", "tf_advseg.data.prepare", *flags, "--data_dir", folder]
    assert ended(command) == (0, [])
    return content_of(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The flags of a miniature VOC with SBD, what they make, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("voc")
    flags = ["voc2012", *Voc().both(folder)]
    began = time.monotonic()
    expected = whole(flags, folder / "D")
    return flags, expected, time.monotonic() - began


def lists_in(folder):
    return list((folder / "ImageSets/Segmentation").glob("*.txt"))


@pytest.mark.parametrize("data_set", ["voc2012", "cityscapes"])
def test_killed_again_and_again(data_set, tmp_path, made):
    flags, expected, _ = made
    if data_set == "cityscapes":
        flags = [data_set, *Cityscapes().both(tmp_path)]
        expected = whole(flags, tmp_path / "whole")
    folder, seen = tmp_path / "D", []
    for attempt in range(20):
        # It writes again the manifest, and the classes once it comes so far.
        when = ("before", "after")[attempt % 2]
        command = ["-c", DRIVER, signal.SIGKILL, 5, when, *flags, "--data_dir", folder]
        code, errors = ended(command)
        assert errors == []
        if code == 0:
            break
        assert code == -signal.SIGKILL
        found = content_of(folder)
        # What has its own name is whole.
        assert all(expected[k] == v for k, v in found.items() if not k.startswith(".unfinished/"))
        listed = {name for name in expected if name.startswith(("JPEG", "Segm"))}
        assert not lists_in(folder) or listed <= set(found)
        seen.append(len(found))
    assert len(seen) >= 3 and seen == sorted(seen)
    assert content_of(folder) == expected
    assert not (folder / ".unfinished").exists()


@pytest.mark.parametrize("count", [1, 2, 16, 17, 19])
def test_killed_at_a_file(count, tmp_path, made):
    """19 files: the manifest, 7 images, 7 labels, the classes, 3 lists."""
    flags, expected, _ = made
    assert len(expected) == 19
    folder = tmp_path / "D"
    command = ["-c", DRIVER, signal.SIGKILL, count, "before", *flags, "--data_dir", folder]
    assert ended(command) == (-signal.SIGKILL, [])
    assert len(content_of(folder)) == count  # With the one that has no name yet.
    assert len(lists_in(folder)) == max(0, count - 17)
    assert whole(flags, folder) == expected


def test_killed_at_random_moments(tmp_path, made):
    flags, expected, seconds = made
    draw = random.Random(SEED)
    for attempt in range(4):
        folder = tmp_path / f"D{attempt}"
        for _ in range(2):
            command = ["-m", "tf_advseg.data.prepare", *flags, "--data_dir", folder]
            process = started(command)
            time.sleep(draw.uniform(0.3, 1) * seconds)
            process.kill()
            process.communicate()
        assert whole(flags, folder) == expected


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_signals(number, code, tmp_path, made):
    flags, expected, _ = made
    folder = tmp_path / "D"
    command = ["-c", DRIVER, number, 8, "before", *flags, "--data_dir", folder]
    assert ended(command) == (code, [])
    assert not lists_in(folder)
    assert whole(flags, folder) == expected


def test_what_a_killed_run_left_is_removed_even_when_all_is_there(tmp_path, made):
    flags, expected, _ = made
    folder = tmp_path / "D"
    assert whole(flags, folder) == expected
    (folder / ".unfinished").mkdir()
    (folder / ".unfinished/val.txt").write_text("half")
    assert whole(flags, folder) == expected
    # And before there was a manifest.
    shutil.rmtree(folder)
    os.makedirs(folder / ".unfinished")
    (folder / ".unfinished/prepare.json").write_text("half")
    assert whole(flags, folder) == expected
