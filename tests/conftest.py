"""What every test gets. Data sets on disk are made by `tests.folders.make_voc_folder`."""

import functools
import os
import shutil
import tempfile

import hypothesis
import pytest

from tests.folders import make_voc_folder
from tests.runs import SHARED_FOLDER

# TensorFlow reads it when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

#: The variable that names how thoroughly properties are tried: `quick`, or `thorough`.
PROPERTIES = "TF_ADVSEG_PROPERTIES"
# The same examples each time, and however slow the machine is. Tests that write files are given one
# folder for all of their examples, and clean it themselves.
hypothesis.settings.register_profile(
    "quick",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=25,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.register_profile(
    "thorough",
    hypothesis.settings.get_profile("quick"),
    derandomize=False,
    max_examples=1000,
    print_blob=True,
)
hypothesis.settings.load_profile(os.environ.get(PROPERTIES, "quick"))


#: The files that take longest, which begin first: at the end, no process shall still be at one of
#: them while the others have nothing left to do. The first makes the shared run, for which the
#: files beside it need not wait.
LONGEST = (
    *("test_kills", "test_reference", "test_serving", "test_end_to_end", "test_reproduce_runner"),
    *("test_recipes_end_to_end", "test_replicas", "test_bad_input", "test_backbones", "test_fuzz"),
    *("test_objective", "test_initial_weights", "test_prepare_end_to_end", "test_no_network"),
)


def pytest_collection_modifyitems(items):
    """Puts the tests of LONGEST first."""
    items.sort(key=lambda item: (*LONGEST, item.path.stem).index(item.path.stem))


def pytest_configure(config):
    """Makes the folder of the shared run; of several processes, the one that starts the others."""
    if not hasattr(config, "workerinput"):
        os.environ[SHARED_FOLDER] = tempfile.mkdtemp(prefix="advseg-tests-")


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(SHARED_FOLDER), ignore_errors=True)


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


@pytest.fixture
def table_data_dir(voc_folder):
    """A data set of eight training images, which a table is planned over."""
    return voc_folder(train=8)


@pytest.fixture
def planned(table_data_dir, tmp_path):
    """planned("--seeds", "0,1", ...) plans a grid over eight training images."""
    from tests.planned_tables import plan_table

    return functools.partial(plan_table, table_data_dir, tmp_path / "out")
