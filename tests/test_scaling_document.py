"""The commands of docs/scaling.md, given to train.py on a small data set of that kind."""

import re
import shlex
from pathlib import Path

import pytest

import train
from tests.folders import make_voc_folder
from tf_advseg import config

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"


def commands():
    """Returns the flags of each train.py in the document's code."""
    found = []
    for block in re.findall(r"^```\w*\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.M | re.S):
        if "[python, train.py]" in block:
            found.append(re.findall(r"^ +- (--.+)$", block, re.M))
        elif "train.py" in block:
            command = block.split("train.py")[1].replace("\\\n", " ")
            found.append(shlex.split(command.splitlines()[0].rstrip("'")))
    return found


@pytest.fixture
def voc2012(tmp_path):
    """A folder with the lists of VOC 2012: eight training images."""
    folder = make_voc_folder(tmp_path / "voc", train=8, val=1)
    (folder / "classes.json").unlink()  # VOC's own, which the data set knows.
    lists = folder / "ImageSets" / "Segmentation"
    (lists / "train.txt").rename(lists / "train_aug.txt")
    return folder


def test_every_way_to_start_several_workers_is_shown():
    assert [("multi_worker" in " ".join(flags)) for flags in commands()] == [True] * 3


@pytest.mark.parametrize("flags", commands(), ids=["by hand", "Slurm", "Kubernetes"])
def test_documented_command_finds_labeled_and_unlabeled_images(flags, voc2012, tmp_path):
    settings = config.train_config(
        [*flags, "--data_dir", str(voc2012), "--run_dir", str(tmp_path / "run")]
    )
    found = train.open_files(settings)
    assert (settings.method, settings.dataset) == ("semi", "voc2012")
    assert (len(found.labeled.ids), len(found.unlabeled)) == (1, 7)
