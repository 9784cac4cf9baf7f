"""Published data sets, from their archives to a trained network."""

import pytest

from tests.archives_made import Cityscapes, Voc, prepare
from tests.runs import TINY, call


# What is written is tested by test_prepare_voc2012 and test_prepare_cityscapes too.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("data_set", "made", "method", "says"),
    [
        # Of the 5 images in train_aug, a half rounded down.
        ("voc2012", Voc, "semi", "21 classes, 2 labeled and 3 unlabeled images, 2 for validation"),
        (
            *("cityscapes", Cityscapes, "baseline"),
            "19 classes, 2 labeled and 2 unlabeled images (not",
        ),
    ],
)
def test_train_on_a_prepared_folder(data_set, made, method, says, tmp_path, capsys):
    folder = tmp_path / "D"
    assert prepare(data_set, "--data_dir", folder, *made().both(tmp_path)) == 0
    flags = "--dataset", data_set, "--data_dir", folder, "--run_dir", tmp_path / "run"
    run = "--method", method, "--labeled_fraction", "0.5", "--steps", "3", *TINY
    capsys.readouterr()
    assert call("train", *flags, *run) == 0
    out = capsys.readouterr().out
    assert f"{data_set}: {says}" in out
    assert "mean IoU" in out
    assert (tmp_path / "run/results.json").is_file()
