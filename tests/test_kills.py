"""A run that is stopped, or killed, and resumed must end as one that was left alone.

`python -m tests.soak --part kills` does so at random moments, many times.
"""

import os
import shlex
import shutil
import signal
import subprocess
import time

import pytest

from tests import event_files
from tests.runs import ROOT, SHARED, STEPS, command, script, shared_run
from tests.soak.kills import differences, unfinished
from tf_advseg import checkpoint_files


def last_step(run_dir):
    """Returns the newest checkpoint's step; 0 if there is none."""
    return max(checkpoint_files.steps(run_dir / "checkpoints"), default=0)


def stop(arguments, number, run_dir, env):
    """Runs train.py until it has written two more checkpoints, and then sends it a signal.

    SIGKILL is sent while it writes another one.

    Returns:
      the exit code and the text it printed.
    """
    before = last_step(run_dir)
    process = subprocess.Popen(
        command("train", *arguments),
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def wait(until, seconds):
        while not until() and process.poll() is None:
            assert time.monotonic() < deadline, "no checkpoint"
            time.sleep(seconds)

    deadline = time.monotonic() + 240
    wait(lambda: last_step(run_dir) >= before + 4, 0.02)
    if number == signal.SIGKILL:
        wait(lambda: unfinished(run_dir), 0.001)
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    return process.returncode, output


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((signal.SIGTERM, signal.SIGKILL), id="SIGTERM and SIGKILL"),
        # Handled as SIGTERM is, which `test_callbacks` tests of both.
        pytest.param((signal.SIGINT,), id="Ctrl-C", marks=pytest.mark.slow),
    ],
)
def signals(request):
    """The signals that stop the run, one after the other."""
    return request.param


@pytest.fixture(scope="module")
def stopped(signals, tmp_path_factory):
    """Trains as the shared run, stopped by the signals, then let go on to the end.

    Returns:
      the run's folder, and what was seen on the way: [(exit code, output, last step)].
    """
    run = shared_run()
    run_dir = tmp_path_factory.mktemp("a stopped run") / "run"
    env = {"TF_ADVSEG_CACHE": str(run.cache)}
    arguments = (*SHARED, "--data_dir", run.data_dir, "--checkpoint_every", 2, "--run_dir", run_dir)
    seen = []
    for number in signals:
        code, output = stop(arguments, number, run_dir, env)
        seen.append((code, output, last_step(run_dir)))
        assert not (run_dir / "results.json").exists(), "it ended before the signal"
        arguments = ("--run_dir", run_dir, "--resume")
    done = script("train", *arguments, env=env)
    seen.append((done.returncode, done.stdout, last_step(run_dir)))
    return run_dir, seen


def test_exit_codes_and_messages(signals, stopped):
    run_dir, seen = stopped
    codes, outputs, steps = zip(*seen)
    killed = signal.SIGKILL
    assert codes == (*(-n if n == killed else 128 + n for n in signals), 0)
    assert [0, *steps] == sorted({0, *steps})
    assert steps[-1] == STEPS
    # The checkpoint is of the very step at which it stopped.
    again = f"--run_dir {shlex.quote(str(run_dir))} --resume"
    for number, step, output in zip(signals, steps, outputs):
        assert (f"stopped at step {step}; go on with {again}" in output) == (number != killed)
    # What a killed process has printed may be lost.
    assert f"resumed at step {steps[-2]} of {STEPS}" in outputs[-1]


def test_stopped_run_ends_bit_identical(stopped):
    assert differences(shared_run().folder, stopped[0]) == []


def test_stopped_run_is_one_session_that_succeeds(stopped):
    run_dir, _ = stopped
    folder = run_dir / "tensorboard"
    assert event_files.written(folder, "_hparams_/session_start_info") == 1
    ((name, session),) = event_files.sessions(folder).items()
    assert (name, session["status"]) == (".", "SUCCESS")


def test_each_command_is_shown_at_the_step_at_which_it_went_on(stopped):
    run_dir, seen = stopped
    texts = event_files.tensors(run_dir / "tensorboard" / "train")["run"]
    assert list(texts) == [0, *(step for _, _, step in seen[:-1])]
    for at, text in texts.items():
        began, command, _ = text.item().decode().split("\n\n")
        assert began == (f"resumed at step {at}" if at else "begun")
        assert command.strip().startswith("python train.py ")
        assert command.endswith(" --resume") == bool(at)


def test_only_the_last_checkpoints_are_kept(stopped):
    folder = stopped[0] / "checkpoints"
    assert checkpoint_files.steps(folder) == [STEPS - 4, STEPS - 2, STEPS]
    assert len(checkpoint_files.steps(folder / "best")) == 1


def test_differences_are_told(stopped, tmp_path):
    """That none was found above says something."""
    changed = shutil.copytree(stopped[0], tmp_path / "changed")
    data = changed / "checkpoints" / "best"
    (step,) = checkpoint_files.steps(data)
    (changed / "checkpoints" / "best" / f"step-{step}.index").rename(data / "step-1.index")
    results = (changed / "results.json").read_text("utf-8")
    (changed / "results.json").write_text(results.replace('"seed": 3', '"seed": 4'), "utf-8")
    for path in (changed / "tensorboard" / "validation").iterdir():
        path.unlink()
    found = differences(shared_run().folder, changed)
    assert found[0] == f"checkpoints/best has the steps [1], not [{step}]"
    assert "tensorboard/validation: validation/mean_iou at 20" in found
    assert found[-1] == "results.json: seed"
