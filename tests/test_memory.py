"""Out of memory: one line with settings that need less, which `config` takes."""

import pytest
import tensorflow as tf

from tests.runs import TINY, call
from tf_advseg.config import train_config
from tf_advseg.errors import OutOfMemory
from tf_advseg.training import memory
from tf_advseg.training.validation import Validation

#: As TensorFlow says it.
OOM = tf.errors.ResourceExhaustedError(
    None,
    None,
    "Graph execution error:\n\nDetected at node 'conv'\n"
    "OOM when allocating tensor with shape[16,256,41,41] and type half on GPU:0 by allocator x\n"
    "\t [[{{node conv}}]]",
)


def config_of(*flags):
    return train_config(["--dataset", "folder", "--data_dir", "d", "--run_dir", "r", *flags])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            OOM,
            " (OOM when allocating tensor with shape[16,256,41,41] and type half on GPU:0 by "
            "allocator x)",
        ),
        (MemoryError(), ""),
        (MemoryError("Unable to allocate 2 GiB"), " (Unable to allocate 2 GiB)"),
    ],
)
def test_too_little_memory_is_told_in_one_line(error, reason):
    with pytest.raises(OutOfMemory) as caught, memory.answered("a step", "less"):
        raise error
    assert str(caught.value) == f"out of memory in a step{reason}; try less"


@pytest.mark.slow  # TensorFlow waits for ten seconds, in case memory is freed.
def test_allocation_that_tensorflow_refuses_is_told():
    tebibytes = [2**22, 2**22]
    with (
        pytest.raises(OutOfMemory, match=r"a step \(.*OOM when allocating .*\); try less$"),
        memory.answered("a step", "less"),
    ):
        tf.random.uniform(tebibytes)


@pytest.mark.parametrize("message", ["/a/b.png; Too many open files", "x; No space left on device"])
def test_other_things_that_run_out_are_told_as_they_are(message):
    with (
        pytest.raises(tf.errors.ResourceExhaustedError, match=message),
        memory.answered("a step", "less"),
    ):
        raise tf.errors.ResourceExhaustedError(None, None, message)


@pytest.mark.parametrize(
    ("flags", "replicas", "has_gpu", "tries"),
    [
        (
            (),
            1,
            False,
            "--recompute true (a begun run can --resume with it); or in a new --run_dir "
            "--batch_size 4 (now 8), or --crop_size 233,233 (now 321,321)",
        ),
        (
            ("--recompute", "true", "--precision", "float32", "--crop_size", "512,1024"),
            1,
            True,
            "in a new --run_dir --precision mixed_float16, or --batch_size 4 (now 8), or "
            "--crop_size 384,768 (now 512,1024)",
        ),
        # Three replicas get equal parts: of 12, half is 6; of 9, 3.
        (("--batch_size", "12", "--recompute", "true"), 3, False, "--batch_size 6 (now 12), or"),
        (("--batch_size", "9", "--recompute", "true"), 3, False, "--batch_size 3 (now 9), or"),
        (
            ("--batch_size", "1", "--recompute", "true"),
            1,
            False,
            "in a new --run_dir --crop_size 233,233 (now 321,321)",
        ),
        (
            ("--batch_size", "1", "--recompute", "true", "--crop_size", "20,17"),
            1,
            False,
            "a smaller --backbone",
        ),
    ],
)
def test_settings_that_need_less(flags, replicas, has_gpu, tries):
    told = memory.smaller_step(config_of(*flags), replicas, has_gpu=has_gpu)
    assert tries in told


def test_validation_is_told_to_look_at_crops():
    full, crops = config_of(), config_of("--eval_protocol", "random_crop", "--eval_size", "99,64")
    assert memory.validation(full) == "a validation on full images"
    assert memory.smaller_validation(full).endswith(
        "--eval_protocol random_crop --eval_size 321,321"
    )
    assert memory.validation(crops) == "a validation on images of 99,64"
    assert memory.smaller_validation(crops).endswith("--eval_size 49,32")


def test_run_that_runs_out_ends_with_one_line(voc_folder, tmp_path, capsys, monkeypatch):
    def measure(self):
        raise OOM

    monkeypatch.setattr(Validation, "measure", measure)
    flags = ("--dataset", "folder", "--data_dir", voc_folder(train=2, val=1), *TINY)
    more = ("--method", "baseline", "--steps", "1", "--run_dir", tmp_path / "run")
    assert call("train", *flags, *more) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: out of memory in a validation on full images (OOM when ")
    assert line.endswith("; try in a new --run_dir --eval_protocol random_crop --eval_size 33,49")
