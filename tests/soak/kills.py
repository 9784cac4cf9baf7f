"""Kills a training at random moments until it is done, and compares it with one left alone."""

import collections
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event

from tests.folders import make_voc_folder
from tests.runs import AS_PUBLISHED, ROOT, TINY, command, script
from tf_advseg import checkpoint_files
from tf_advseg.training import event_files

#: Nothing is due at the steps of something else: windows of 20, validations, checkpoints.
SETTINGS = (
    *("--dataset", "folder", *AS_PUBLISHED, "--labeled_fraction", "0.7", *TINY),
    *("--steps", "90", "--eval_every", "14", "--checkpoint_every", "6", "--semi_start", "45"),
    *("--t_semi", "0.45", "--learning_rate", "0.02", "--discriminator_learning_rate", "1.5e-4"),
    *("--spectral_norm", "true", "--discriminator_channels", "16", "--seed", "3"),
)
#: SIGKILL is what a power loss or a full memory looks like; it comes most often.
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ANY, TRAINING, SAVING = MOMENTS = ("any", "training", "saving")

#: Parts of a checkpoint that count writing and time.
_OF_WRITING = ("save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH", "seconds/")
_OF_TIME = ("images_per_second", "training_seconds", "peak_memory_bytes")
_TAGS_OF_TIME = ("throughput/images_per_second", "run")  # The text has the command.
_LONGEST = 600  # Seconds that a process may take before it hangs.
_TRAINING_SECONDS, _SAVING_SECONDS = 0.8, 0.02  # After which a kill comes, at most.


@dataclasses.dataclass(frozen=True)
class Kill:
    """A signal, and when a process gets it.

    Attributes:
      moment: one of MOMENTS: "any" counts seconds from the start of the process, which takes most
        of its time, "training" from its first checkpoint on, and "saving" from when it writes the
        next one.
      seconds: after that.
    """

    number: int
    moment: str
    seconds: float = 0.0


@dataclasses.dataclass
class KillFigures:
    """What happened, and whether anything differs at the end.

    Attributes:
      kills: processes that got a signal before they were done.
      runs: that were carried to their end.
      by_signal: kills by the name of the signal.
      by_moment: kills by when they came.
      amid_writing: kills that left a checkpoint half-written.
      slowest_end: seconds from SIGTERM or Ctrl-C to the end of the process, at most.
      differences: from the run that was left alone, or processes that failed; should be empty.
    """

    kills: int = 0
    runs: int = 0
    by_signal: dict[str, int] = dataclasses.field(default_factory=dict)
    by_moment: dict[str, int] = dataclasses.field(default_factory=dict)
    amid_writing: int = 0
    slowest_end: float = 0.0
    differences: list[str] = dataclasses.field(default_factory=list)


def survive_kills(
    kills: int, seed: int, folder: Path, say: Callable[[str], None] = print
) -> KillFigures:
    """Trains once left alone, and again and again with kills until there were so many.

    Args:
      kills: at least so many.
      seed: of the signals and their moments.
      folder: for the data and the runs; it is made. A run that differs stays there.
      say: is told of each kill.
    """
    rng = random.Random(seed)
    data = ("--data_dir", make_voc_folder(folder / "data", train=7, val=3))
    whole, figures = folder / "whole", KillFigures()
    begun = time.monotonic()
    done = script(
        "train", *SETTINGS, *data, "--run_dir", whole, env={"TF_ADVSEG_CACHE": str(folder / "one")}
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    seconds = time.monotonic() - begun
    while figures.kills < kills and not figures.differences:
        run_dir = folder / f"killed-{figures.runs}"
        env = {"TF_ADVSEG_CACHE": str(folder / f"cache-{figures.runs}")}
        while figures.kills < kills:
            kill = random_kill(rng, seconds)
            if not resume_and_kill((*SETTINGS, *data), run_dir, env, kill, figures):
                break
            name = signal.Signals(kill.number).name
            say(f"kill {figures.kills} of {kills}: {name}, {kill.moment}")
        finish((*SETTINGS, *data), run_dir, env, figures)
        figures.differences += differences(whole, run_dir)
        if not figures.differences:
            shutil.rmtree(run_dir)
    return figures


def random_kill(rng: random.Random, seconds: float) -> Kill:
    """Draws a signal and its moment, for a process that takes so many seconds if left alone."""
    moment = rng.choice(MOMENTS)
    longest = {ANY: seconds, TRAINING: _TRAINING_SECONDS, SAVING: _SAVING_SECONDS}[moment]
    return Kill(rng.choice(SIGNALS), moment, rng.uniform(0, longest))


def resume_and_kill(
    arguments: Sequence[object],
    run_dir: Path,
    env: Mapping[str, str],
    kill: Kill,
    figures: KillFigures,
) -> bool:
    """Begins a run or goes on with it, and kills the process.

    Returns:
      whether it was killed; it may be done before.
    """
    process = _start(arguments, run_dir, env)
    try:
        _wait(process, run_dir, kill)
        told = time.monotonic()
        process.send_signal(kill.number)
        _, errors = process.communicate(timeout=_LONGEST)
    finally:
        process.kill()
    name = signal.Signals(kill.number).name
    # Before Python has set its handlers, a signal ends it as SIGKILL does.
    if process.returncode not in (128 + kill.number, -kill.number):
        if process.returncode:
            figures.differences.append(f"{kill} ended with {process.returncode}: {errors}")
        return False
    if kill.number != signal.SIGKILL:
        figures.slowest_end = max(figures.slowest_end, time.monotonic() - told)
    figures.kills += 1
    _count(figures.by_signal, name)
    _count(figures.by_moment, kill.moment)
    figures.amid_writing += bool(unfinished(run_dir))
    return True


def finish(
    arguments: Sequence[object], run_dir: Path, env: Mapping[str, str], figures: KillFigures
) -> None:
    """Goes on with a run to its end."""
    process = _start(arguments, run_dir, env)
    try:
        _, errors = process.communicate(timeout=_LONGEST)
    finally:
        process.kill()
    figures.runs += 1
    if process.returncode or "cannot load" in errors:
        figures.differences.append(f"{run_dir} ended with {process.returncode}: {errors}")


def differences(whole: Path, killed: Path) -> list[str]:
    """Returns in what two run folders differ, apart from times: nothing, if resuming is exact."""
    found = []
    for folder in ("checkpoints", "checkpoints/best"):
        steps = [checkpoint_files.steps(run / folder) for run in (whole, killed)]
        if steps[0][-1:] != steps[1][-1:] or (folder.endswith("best") and steps[0] != steps[1]):
            found.append(f"{folder} has the steps {steps[1]}, not {steps[0]}")
        for step in set(steps[0]) & set(steps[1]):
            values = [_tensors(run / folder / f"step-{step}") for run in (whole, killed)]
            found += [f"{folder}/step-{step}: {name}" for name in _unequal(*values)]
    for name in ("train", "validation"):
        points = [_points(run / "tensorboard" / name) for run in (whole, killed)]
        found += [f"tensorboard/{name}: {tag} at {step}" for tag, step in _unequal(*points)]
    results = [json.loads((run / "results.json").read_text("utf-8")) for run in (whole, killed)]
    found += [f"results.json: {n}" for n in _unequal(*results) if n not in _OF_TIME]
    if len({(run / "split.json").read_text("utf-8") for run in (whole, killed)}) > 1:
        found.append("split.json")
    return [*found, *(f"left behind: {path}" for path in unfinished(killed))]


def _start(arguments: Sequence[object], run_dir: Path, env: Mapping[str, str]) -> subprocess.Popen:
    # Flags again: a process may be killed before it has written them.
    return subprocess.Popen(
        command("train", *arguments, "--run_dir", run_dir, "--resume"),
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait(process: subprocess.Popen, run_dir: Path, kill: Kill) -> None:
    """Returns when the moment of a kill has come, or the process has ended."""
    checkpoints = run_dir / "checkpoints"
    before = checkpoint_files.steps(checkpoints)[-1:]

    def has_come() -> bool:
        if kill.moment == ANY:
            return True
        # What an earlier process left unfinished is removed as this one starts.
        if checkpoint_files.steps(checkpoints)[-1:] == before:
            return False
        return kill.moment == TRAINING or bool(unfinished(run_dir))

    deadline = time.monotonic() + _LONGEST
    while not has_come() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(kill.seconds)


def unfinished(run_dir: Path) -> list[Path]:
    """Returns what is half-written in a run folder."""
    names = (".*.tmp", "checkpoints/.unfinished-*", "checkpoints/best/.unfinished-*")
    return [path for name in names for path in run_dir.glob(name)]


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _tensors(checkpoint: Path) -> dict[str, bytes]:
    """Returns {name: value} of a checkpoint: weights, optimizers' slots, windows, scores."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    names = [n for n in reader.get_variable_to_shape_map() if not n.startswith(_OF_WRITING)]
    return {name: np.asarray(reader.get_tensor(name)).tobytes() for name in names}


def _points(folder: Path) -> dict[tuple[str, int], list[bytes]]:
    """Returns what was written of each tag at each step, each time that it was."""
    points = collections.defaultdict(list)
    for path in event_files.paths(folder):
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            for value in event.summary.value:
                if value.tag not in _TAGS_OF_TIME:
                    points[value.tag, event.step].append(value.tensor.SerializeToString())
    return dict(points)


def _unequal(one: Mapping, other: Mapping) -> list:
    """Returns the keys that only one has, or of which both have other values."""
    keys = [*one, *(key for key in other if key not in one)]
    return [key for key in keys if key not in one or key not in other or one[key] != other[key]]
