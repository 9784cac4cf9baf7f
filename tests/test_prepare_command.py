"""The command that prepares a data set: its flags, its help, and what it imports."""

import shutil
import subprocess
import sys

import pytest

from tests.archives_made import PREPARE, prepare, zipped
from tests.runs import ROOT, fails_with
from tf_advseg.data.prepare import download

OTHER = "--allow_other_archive"


def test_missing_archives(made, tmp_path, fails, monkeypatch):
    voc, folder = made
    monkeypatch.setattr(download, "fetch", lambda *_: pytest.fail("it downloads"))
    of_voc, of_sbd = ("--archive", voc.voc(tmp_path)), ("--archive", voc.sbd(tmp_path))
    to = "--data_dir", folder
    url = "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
    fails(*to, *of_voc, OTHER, says=("benchmark.tgz", url, "--archive FILE", "--download"))
    url = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
    fails(*to, *of_sbd, OTHER, says=("VOCtrainval_11-May-2012.tar", url, "--download"))
    aug = "SegmentationClassAug.zip", "no official address", "--archive FILE"
    fails(*to, "--labels", "aug", says=aug)
    fails(*to, "--labels", "aug", *of_voc, "--download", OTHER, says=aug)
    assert not folder.exists()


def test_wrong_archive_flags(made, tmp_path, fails):
    voc, folder = made
    of_voc, of_sbd = ("--archive", voc.voc(tmp_path)), ("--archive", voc.sbd(tmp_path))
    to = "--data_dir", folder
    fails(*of_voc, says="--data_dir is missing")
    fails(*to, "--archive", tmp_path / "gone.tar", says="gone.tar does not exist")
    fails(*to, *of_voc, *of_voc, says="given twice")
    fails(*to, "--archive", "", *of_voc, says="--archive is ''")
    fails(*to, *of_voc, "--archive", says="--archive")
    fails(*to, "--labels", "voc", *of_voc, *of_sbd, OTHER, says=("SBD", "beside --labels voc"))
    again = shutil.copy(of_voc[1], tmp_path / "again.tar")
    fails(*to, *of_voc, "--archive", again, OTHER, says=("again.tar", "VOC 2012", "one of them"))
    other = zipped(tmp_path / "other.zip", {"JPEGImages/2007_000032.jpg": b""})
    fails(*to, "--archive", other, says=("other.zip", "VOCtrainval", "SegmentationClassAug/"))
    text = tmp_path / "notes.txt"
    text.write_text("nothing")
    fails(*to, "--archive", text, says="notes.txt")
    cut = tmp_path / "cut.tgz"
    cut.write_bytes(voc.sbd(tmp_path).read_bytes()[:-2000])
    fails(*to, *of_voc, "--archive", cut, OTHER, says="cut.tgz")
    assert not folder.exists()


def test_names_of_the_command(capsys):
    fails_with(capsys, PREPARE, "imagenet", says=("'imagenet'", "voc2012, cityscapes"))
    fails_with(capsys, PREPARE, "voc2012", "--seed", "1", says="data.prepare voc2012 --help")
    assert prepare() == 0
    assert "names: voc2012, cityscapes" in capsys.readouterr().out


def test_neither_tensorflow_nor_numpy_for_the_help():
    code = (
        "import sys; given = sys.argv = ['x', *sys.argv[1:]]\n"
        "from tf_advseg.data.prepare.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert sys.argv is given and given[0] == 'x'\n"
        "print([m for m in ('tensorflow', 'keras', 'numpy', 'scipy') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "voc2012", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "usage: python -m tf_advseg.data.prepare voc2012" in done.stdout
    assert done.stdout.endswith("\n[]\n")


def test_no_tensorflow_to_prepare(made, tmp_path):
    voc, folder = made
    code = (
        "import sys\n"
        "from tf_advseg.data.prepare.__main__ import main\n"
        "main()\n"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    flags = ["voc2012", "--data_dir", folder, *voc.both(tmp_path)]
    command = [sys.executable, "-c", code, *map(str, flags)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")
    assert (folder / "ImageSets/Segmentation/train.txt").is_file()
