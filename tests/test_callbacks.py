"""Signals in training: which step it stops after, whenever they come."""

import os
import signal

import pytest
import tensorflow as tf

from tf_advseg.errors import Interrupted
from tf_advseg.training.callbacks import EveryStep, ShowProgress, Steps, StopOnSignal


class Model:
    """What the callback sees of a model."""

    stop_training = False


@pytest.fixture
def stop():
    """Makes a callback in a training that has begun; the handlers from before come back."""
    made = []

    def begin(*agree):
        made.append(StopOnSignal(*agree))
        made[-1].set_model(Model())
        made[-1].on_train_begin()
        return made[-1]

    yield begin
    for callback in made:
        callback.on_train_end()


def send(number):
    os.kill(os.getpid(), number)


def test_signal_stops_after_the_step_under_way(stop):
    callback = stop()
    callback.on_step(1, {})
    assert (callback.received, callback.model.stop_training) == (None, False)
    send(signal.SIGTERM)
    callback.on_step(2, {})
    assert (callback.received, callback.model.stop_training) == (signal.SIGTERM, True)


def test_signal_that_comes_while_workers_agree_is_told_at_the_next_step(stop):
    told = []

    def agree(number):
        told.append(number)
        if len(told) == 1:
            send(signal.SIGTERM)
        return number

    callback = stop(agree)
    callback.on_step(1, {})
    assert (callback.received, callback.model.stop_training) == (None, False)
    callback.on_step(2, {})
    assert told == [0, signal.SIGTERM]
    assert (callback.received, callback.model.stop_training) == (signal.SIGTERM, True)


def test_signal_of_another_worker_stops_this_one(stop):
    callback = stop(lambda number: max(number, signal.SIGINT))
    callback.on_step(1, {})
    assert (callback.received, callback.model.stop_training) == (signal.SIGINT, True)


def test_second_signal_goes_to_the_handler_from_before(stop):
    def end(number, frame):
        raise Interrupted(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        stop()
        send(signal.SIGTERM)
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_step_of_which_a_callback_failed_is_not_done():
    """A checkpoint of it would have a resumed run leave out what the others were to do."""

    class Fails(EveryStep):
        def on_step(self, step, logs):
            if step == 2:
                raise OSError

    steps = Steps([Fails()])
    model = Model()
    steps.set_model(model)
    model.step = tf.constant(1)
    steps.on_train_batch_end(0)
    assert not steps.amid
    model.step = tf.constant(2)
    with pytest.raises(OSError):
        steps.on_train_batch_end(1)
    assert steps.amid


def test_progress_shows_the_main_losses_alone():
    class Progress:
        def update(self, step, values):
            self.shown = step, values

    progress = Progress()
    logs = {"loss": 1.0, "adversarial_labeled": 2.0, "discriminator": 3.0, "confidence_true": 0.5}
    ShowProgress(progress).on_step(7, logs)
    assert progress.shown == (7, {"loss": 1.0, "discriminator": 3.0})
