"""Several steps in one execution: the same steps, looked at less often."""

import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.profiler.protobuf import xplane_pb2
from test_trainer_fit import NETWORKS, random_batch, steps_of, trainer_of, values

from tf_advseg.config import train_config
from tf_advseg.errors import InputError
from tf_advseg.training import callbacks, divergence, session
from tf_advseg.training.stopwatch import Stopwatch


class Looks(callbacks.EveryStep):
    """Notes the steps at which it is called."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_step(self, step, logs):
        self.steps.append(step)


def fit(steps_per_execution, *others, data=None):
    trainer, looks = trainer_of(), Looks()
    trainer.compile(
        trainer.optimizer,
        trainer.discriminator_optimizer,
        steps_per_execution=steps_per_execution,
    )
    steps = callbacks.Steps([*others, looks])
    trainer.fit(data or steps_of(range(5)), steps_per_epoch=5, verbose=0, callbacks=[steps])
    return trainer, looks.steps


def test_steps_at_once_are_the_same_steps():
    timing = callbacks.Timing(Stopwatch())
    (single, each), (at_once, looked) = fit(1), fit(2, timing)
    assert (each, looked) == ([1, 2, 3, 4, 5], [2, 4, 5])
    # Those after the first execution.
    assert timing.steps == 3
    for network in NETWORKS:
        for own, other in zip(values(getattr(single, network)), values(getattr(at_once, network))):
            np.testing.assert_allclose(own, other, atol=1e-6)


@pytest.mark.parametrize(
    ("step", "at_once", "named"),
    [(3, 1, "step 3"), (3, 2, "one of the steps 3 to 4"), (5, 2, "step 5")],
)
def test_loss_that_is_no_number_is_seen_at_the_end_of_its_execution(step, at_once, named):
    batches = [random_batch(seed) for seed in range(5)]
    images, labels = batches[step - 1]["labeled"]
    batches[step - 1]["labeled"] = images * math.nan, labels
    stacked = tf.nest.map_structure(lambda *parts: tf.stack(parts), *batches)
    data = tf.data.Dataset.from_tensor_slices(stacked)
    with pytest.raises(FloatingPointError, match=f"^{named}: .*cross_entropy.* is not finite$"):
        fit(at_once, divergence.StopAtNaN(), data=data)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("8",), "does not divide --eval_every 60; allowed: a divisor of 20"),
        (("30",), "does not divide the curves' window of 20 steps"),
        (("20", "--checkpoint_every", "50"), "--checkpoint_every 50; allowed: a divisor of 10"),
    ],
)
def test_execution_must_end_where_something_is_due(argv, says):
    with pytest.raises(InputError) as caught:
        train_config(["--eval_every", "60", "--steps_per_execution", *argv])
    assert says in str(caught.value)


@pytest.mark.parametrize(("first_step", "steps"), [(0, 10), (20, 10), (15, 5), (7, 1)])
def test_resumed_run_takes_as_many_as_fit(first_step, steps):
    config = train_config(["--eval_every", "60", "--steps_per_execution", "10"])
    assert session.steps_per_execution(config, first_step) == steps
    assert session.steps_per_execution(train_config(["--run_dir", "r"]), first_step) == 1


def test_gpu_takes_fewer_at_once_so_that_a_profile_begins_and_ends_between_them(monkeypatch):
    monkeypatch.setattr(session.tf.config, "list_physical_devices", lambda kind: [kind])
    flags = ("--steps", "400", "--eval_every", "100")
    for profile, steps in (((), 10), (("--profile", "30:35"), 5), (("--profile", "8:12"), 4)):
        assert session.steps_per_execution(train_config([*flags, *profile]), 0) == steps


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("5",), "--profile is '5'; allowed: START:STOP, whole numbers with 0 < START < STOP"),
        (("5:5",), "0 < START < STOP"),
        (("0:5",), "0 < START < STOP"),
        (("a:b",), "0 < START < STOP"),
        (("5:61",), "--profile 5:61 ends after --steps 60; allowed: STOP of at most 60"),
        (("5:12", "--steps_per_execution", "4"), "4 does not divide --profile 5:12"),
        (("4:6", "--steps_per_execution", "4"), "does not divide --profile 4:6; allowed: multi"),
    ],
)
def test_profile_of_other_steps_is_refused(argv, says):
    with pytest.raises(InputError) as caught:
        train_config(["--steps", "60", "--eval_every", "20", "--profile", *argv])
    assert says in str(caught.value)


@pytest.mark.parametrize("argv", [("1:60",), ("4:8", "--steps_per_execution", "4")])
def test_profile_within_the_run_is_allowed(argv):
    config = train_config(["--steps", "60", "--eval_every", "20", "--profile", *argv])
    assert config.profile == argv[0]


@pytest.mark.parametrize(
    ("first_step", "at_once", "soonest"),
    [
        *((0, 1, None), (30, 1, None), (38, 1, None), (39, 1, 41), (45, 1, 47)),
        *((20, 10, None), (30, 10, 41)),
    ],
)
def test_profile_that_a_resumed_run_cannot_record_is_told(first_step, at_once, soonest):
    flags = ("--profile", "30:40", "--steps_per_execution", str(at_once), "--eval_every", "20")
    said = session.profile_warning(train_config([*flags, "--steps", "60"]), first_step)
    if soonest is None:
        assert said is None
    else:
        assert said == (
            f"--profile 30:40 records nothing: the run is at step {first_step}; "
            f"allowed: STOP of at least {soonest}"
        )


def profile_of(folder, start, stop, *others, steps_per_execution=1):
    """Trains five steps with a profile; returns what it said."""
    said = []
    profile = callbacks.Profile(folder, start, stop, Stopwatch(), said.append)
    fit(steps_per_execution, profile, *others)
    ended = len(said)
    profile.close()
    return said, ended


def profiled_executions(folder):
    """Returns how many executions a profile has, of the one file that holds it."""
    (file,) = folder.glob("plugins/profile/*/*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    names = [
        plane.event_metadata[event.metadata_id].name
        for plane in space.planes
        for line in plane.lines
        for event in line.events
    ]
    return sum(n.startswith("EagerLocalExecute: __inference_train_function") for n in names)


def test_profile_is_of_its_steps_and_where_tensorboard_looks(tmp_path):
    said, ended = profile_of(tmp_path, 2, 4, steps_per_execution=2)
    assert ended == 1
    assert said == [
        f"profile of the steps 3 to 4 in {tmp_path}/plugins/profile; "
        "TensorBoard shows it once tensorboard-plugin-profile is installed"
    ]
    assert profiled_executions(tmp_path) == 1


def test_profile_of_a_training_that_is_stopped_is_written(tmp_path):
    class Stop(callbacks.EveryStep):
        def on_step(self, step, logs):
            self.model.stop_training = step == 3

    said, ended = profile_of(tmp_path, 1, 5, Stop())
    assert ended == 0 and len(said) == 1 and "the steps 2 to 3 in" in said[0]
    assert profiled_executions(tmp_path) == 2


def test_profile_of_a_run_resumed_amid_its_steps_has_the_rest(tmp_path):
    said = []
    profile = callbacks.Profile(tmp_path, 1, 5, Stopwatch(), said.append)
    for step in (3, 4, 5):
        profile.on_step(step, {})
    assert "the steps 4 to 5 in" in said[0]
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


@pytest.mark.parametrize(("place", "start", "stop"), [("p", 0, 0), (None, 1, 3), ("p", 1, 2)])
def test_no_profile_is_recorded_where_none_is_due(tmp_path, place, start, stop):
    said = []
    folder = place and tmp_path / place
    profile = callbacks.Profile(folder, start, stop, Stopwatch(), said.append)
    # As of a run that was resumed at the second step.
    profile.on_step(2, {})
    profile.close()
    assert said == list(tmp_path.iterdir()) == []
