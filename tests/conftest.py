"""What every test gets. Data sets on disk are made by `tests.folders.make_voc_folder`."""

import functools
import os

import pytest

from tests.folders import make_voc_folder

# TensorFlow reads it when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Keeps cached labels out of the user's home; returns the folder for them."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TF_ADVSEG_CACHE", str(folder))
    return folder


@pytest.fixture
def voc_folder(tmp_path):
    """Writes a data set to tmp_path/NAME: voc_folder("name", train=4), as `make_voc_folder`."""

    def write(name="voc", **options):
        return make_voc_folder(tmp_path / name, **options)

    return write


@pytest.fixture
def made(tmp_path):
    """Miniature archives of VOC, written to tmp_path by the tests, and the folder to prepare."""
    from tests.archives_made import Voc

    return Voc(), tmp_path / "D"


@pytest.fixture
def fails(capsys):
    """As `tests.runs.fails_with`, for `python -m tf_advseg.data.prepare voc2012`."""
    from tests.archives_made import PREPARE
    from tests.runs import fails_with

    return functools.partial(fails_with, capsys, PREPARE, "voc2012")
