"""What a run reads, by itself and through a tf.data service."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from tf_advseg.data import service
from tf_advseg.data.files import LabeledFiles, TrainingFiles
from tf_advseg.data.pipeline import Views
from tf_advseg.data.positions import WHOLE, Share
from tf_advseg.data.splits import Split
from tf_advseg.train_options import TrainConfig
from tf_advseg.training import batches

COLOR = (1.0, 2.0, 3.0)
SHARES = Share(0, 2), Share(1, 2)


@pytest.fixture(scope="module")
def address():
    """Where a service listens that outlives the runs of these tests."""
    with service.running(service.Settings(port=0, host="localhost")) as found:
        yield found


@pytest.fixture
def source(tmp_path):
    """Returns a source of 200 images and labels that all have one value."""

    def make(value):
        paths = tuple(tmp_path / f"{value}_{kind}.png" for kind in ("image", "label"))
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(paths[0])
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(paths[1])
        views = Views(crop_size=(8, 8), random_scale=(1.0, 1.0), flip=False)
        return batches.Source((paths,) * 200, (), views, 4, 0, first_step=0, steps=9, one_kind=True)

    return make


def first_labels(data):
    return next(iter(data))["labeled"][1].numpy()


def test_run_reads_what_its_settings_say(tmp_path):
    labeled = LabeledFiles(("a",), (tmp_path / "a.jpg",), (tmp_path / "a.png",))
    files = TrainingFiles(None, Split(("a",), ("b",)), labeled, (tmp_path / "b.jpg",), labeled)
    config = TrainConfig(
        crop_size=(20, 30), batch_size=3, seed=7, steps=11, random_flip=False, mixing="coin_flip"
    )
    assert batches.source_of(config, files, 5, void_class=2, padding_color=COLOR) == batches.Source(
        labeled=((tmp_path / "a.jpg", tmp_path / "a.png"),),
        unlabeled=(tmp_path / "b.jpg",),
        views=Views((20, 30), "scale", 1.0, (0.5, 1.5), False, 2, COLOR),
        batch_size=3,
        seed=7,
        first_step=5,
        steps=11,
        one_kind=True,
    )


def test_run_that_reads_itself_ends_with_its_last_step(source):
    left = dataclasses.replace(source(1), first_step=7)
    assert [len(b["labeled"][1]) for b in batches.read(left, WHOLE)] == [4, 4]


def test_running_service_gives_another_run_in_the_folder_its_own_data(address, source, tmp_path):
    for value in (1, 2):
        for share in SHARES:
            data = batches.read_by_service(source(value), share, address, tmp_path / "run")
            np.testing.assert_array_equal(first_labels(data), np.full((2, 8, 8), value))


def test_running_service_gives_a_resumed_run_on_more_workers_its_batches(address, source, tmp_path):
    for workers in (2, 4):
        share = Share(0, workers)
        data = batches.read_by_service(source(3), share, address, tmp_path / "run")
        assert len(first_labels(data)) == 4 // workers


@pytest.mark.parametrize(("folders", "jobs"), [(("run", "run"), 1), (("run", "other"), 2)])
def test_shares_of_one_run_read_one_job(monkeypatch, source, tmp_path, folders, jobs):
    names = []
    monkeypatch.setattr(service, "read_through", lambda data, address, job: names.append(job))
    for share, folder in zip(SHARES, folders, strict=True):
        batches.read_by_service(source(4), share, "grpc://localhost:1", tmp_path / folder)
    assert len(set(names)) == jobs
    batches.read_by_service(source(4), WHOLE, "grpc://localhost:1", tmp_path / "run")
    assert names[-1] is None  # A run that reads alone shares no job.
