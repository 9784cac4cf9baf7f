"""`python -m tf_advseg.data.prepare check`: its flags, what it prints and writes, its exit code."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests import damages, oddities
from tests.archives_made import PREPARE
from tests.folders import make_voc_folder
from tests.runs import ROOT, call, fails_with


@pytest.fixture
def data(tmp_path):
    return make_voc_folder(tmp_path / "voc", train=4, val=2)


@pytest.fixture
def fails(capsys):
    """As `tests.runs.fails_with`, for the command."""
    return functools.partial(fails_with, capsys, PREPARE, "check")


@pytest.fixture
def printed(capsys):
    """Runs the command, which ends with the given code, and returns what it prints on stdout."""

    def run(*flags, code=0):
        assert call(PREPARE, "check", *flags) == code
        return capsys.readouterr().out

    return run


def test_clean_folder_is_summed_up(data, printed):
    label = np.zeros((48, 64), np.uint8)
    label[:12], label[12:24], label[24:30] = 1, 2, 255
    for image_id in ("train_0", "train_1", "train_2", "val_0", "val_1"):
        Image.fromarray(label).save(damages.label_path(data, image_id))
    damages.label_path(data, "train_3").unlink()
    Image.new("RGB", (200, 100)).save(damages.image_path(data, "train_3"))
    assert printed("--data_dir", data).splitlines() == [
        "images    6 (4 in train, 2 in val), of 64x48 to 200x100 pixels",
        "labels    5, 12.5% of their pixels void; 1 training image unlabeled",
        "classes   3, and their share of all pixels with one",
        "   42.86%  class0",
        "   28.57%  class1",
        "   28.57%  class2",
        "problems  none",
        "warnings  none",
    ]


def test_problems_are_printed_by_kind_and_counted(data, printed, fails):
    damages.cut_training_images(data)
    damages.label_in_colours(data)
    oddities.color_classes_alike(data)
    lines = printed("--data_dir", data, "--max_shown", "3", code=2).splitlines()
    images = [damages.image_path(data, f"train_{n}") for n in range(4)]
    assert lines[:8] == [
        "problem: damaged image (4)",
        *(f"  {image} is damaged or cut off" for image in images[:3]),
        "  ... and 1 more",
        "problem: label in colours (1)",
        f"  {damages.label_path(data, 'val_0')} has mode RGB; "
        "allowed: an indexed or grey PNG of class ids",
        "warning: classes of one color (1)",
    ]
    assert [line.split(maxsplit=1) for line in lines[-5:]] == [
        ["problems", "5"],
        ["4", "damaged image"],
        ["1", "label in colours"],
        ["warnings", "1"],
        ["1", "classes of one color"],
    ]
    # Six images, six labels, two lists and classes.json.
    fails("--data_dir", data, says=f"error: 5 problems in 5 of 15 files of {data}")


def test_files_are_counted_once(data, fails):
    label = np.full((40, 64), 9, np.uint8)
    Image.fromarray(label).save(damages.label_path(data, "val_0"))
    fails("--data_dir", data, says="error: 2 problems in 1 of 15 files")
    damages.image_path(data, "val_1").unlink()
    damages.label_path(data, "val_1").unlink()
    fails("--data_dir", data, says="error: 4 problems in 3 of 15 files")


def test_all_problems_are_written_to_a_file(data, tmp_path, printed):
    output = tmp_path / "found.txt"
    assert "problems  none" in printed("--data_dir", data, "--output", output)
    assert output.read_text() == ""
    damages.cut_training_images(data)
    oddities.unseen_class(data)
    out = printed("--data_dir", data, "--output", output, "--max_shown", "0", code=2)
    assert "is damaged" not in out
    path = damages.image_path(data, "train_0")
    lines = output.read_text().splitlines()
    assert len(lines) == 5
    assert lines[0] == f"problem\tdamaged image\t{path} is damaged or cut off"
    assert lines[4].startswith("warning\tclass that never occurs\t")


def test_output_is_never_in_the_data_folder(data, tmp_path, fails):
    link = tmp_path / "link"
    link.symlink_to(data)
    for inside in (data / "found.txt", data / "classes.json", link / "found.txt", tmp_path):
        fails("--data_dir", data, "--output", inside, says=("--output", str(inside), "outside of"))
    gone = tmp_path / "gone" / "found.txt"
    fails("--data_dir", data, "--output", gone, says=("--output", str(gone), "No such file"))
    assert not (data / "found.txt").exists()


def test_wrong_flags(data, fails):
    fails(says="--data_dir is missing")
    fails("--data_dir", data / "gone", says="gone is no folder")
    fails("--data_dir", data, "--dataset", "coco", says=("'coco'", "voc2012"))
    fails("--data_dir", data, "--max_shown", "-1", says="--max_shown")
    fails("--data_dir", data, "--splits", "val", says="--splits")


def test_lists_can_be_named(data, printed):
    damages.write_list(data, "test", "nowhere\n")
    printed("--data_dir", data, code=2)
    assert "(2 in val, 4 in train)" in printed(
        "--data_dir", data, "--split", "val", "--split", "train"
    )
    damages.write_list(data, "test", "val_0\n")
    damages.label_path(data, "val_1").unlink()
    assert "problems  none" in printed("--data_dir", data, "--val_split", "test")


def test_voc_is_trained_on_its_larger_list(data, printed):
    (data / "classes.json").unlink()
    assert "train_aug.txt" in printed("--data_dir", data, "--dataset", "voc2012", code=2)
    flags = ("--dataset", "voc2012", "--train_split", "train")
    assert "problems  none" in printed("--data_dir", data, *flags)


def test_names_are_shown_and_not_obeyed(data, printed):
    damages.write_list(data, "val", "val_0\n\x1b[31mred\u202e 日本\n")
    lines = [line for line in printed("--data_dir", data, code=2).splitlines() if "日本" in line]
    assert lines
    assert all("\\x1b[31mred\\u202e 日本" in line and "\x1b" not in line for line in lines)


def test_neither_tensorflow_nor_a_terminal_of_unicode_is_needed(data):
    oddities.rename_id(data, "train", "train_0", "日本 ß")
    damages.image_path(data, "日本 ß").write_bytes(b"")
    code = (
        "import sys\n"
        "from tf_advseg import cli\n"
        "from tf_advseg.data.prepare.__main__ import main\n"
        "try: cli.run(main)\n"
        "finally: print([m for m in ('tensorflow', 'keras', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "--data_dir", str(data)],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "\\u65e5\\u672c \\xdf.jpg is empty" in done.stdout
    assert done.stdout.endswith("\n[]\n")
    assert done.stderr.startswith("error: 1 problem in 1 of 15 files")


def test_help_needs_no_numpy():
    code = (
        "import sys\n"
        "from tf_advseg.data.prepare.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('tensorflow', 'numpy', 'PIL') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "check", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "usage: python -m tf_advseg.data.prepare check" in done.stdout
    assert done.stdout.endswith("\n[]\n")
