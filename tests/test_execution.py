"""Several steps in one execution: the same steps, looked at less often."""

import math

import numpy as np
import pytest
import tensorflow as tf
from test_trainer_fit import NETWORKS, random_batch, steps_of, trainer_of, values

from tf_advseg.config import train_config
from tf_advseg.errors import InputError
from tf_advseg.training import callbacks, run
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


def test_loss_that_is_no_number_is_seen_at_the_end_of_its_execution():
    batches = [random_batch(seed) for seed in range(5)]
    images, labels = batches[2]["labeled"]
    batches[2]["labeled"] = images * math.nan, labels
    stacked = tf.nest.map_structure(lambda *parts: tf.stack(parts), *batches)
    data = tf.data.Dataset.from_tensor_slices(stacked)
    with pytest.raises(FloatingPointError, match="step 4: "):
        fit(2, callbacks.StopAtNaN(), data=data)


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
    assert run._steps_per_execution(config, first_step) == steps
    assert run._steps_per_execution(train_config([]), first_step) == 1
