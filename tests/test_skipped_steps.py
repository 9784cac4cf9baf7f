"""Steps that do not come about: an overflow under loss scaling, a batch that cannot be read."""

import math

import numpy as np
import pytest
import tensorflow as tf
from test_trainer_fit import NETWORKS, plain_sgd, random_batch, steps_of, trainer_of, values

from tf_advseg.training.tracked import SKIPPED

FINITE, OVERFLOWING = 2.0**4, 2.0**127  # Loss scales.


def overflowing(batch):
    """Returns the batch with an image whose losses are no numbers."""
    images, labels = batch["labeled"]
    return {**batch, "labeled": (images * np.inf, labels)}


def in_float16(segmenter=FINITE, discriminator=FINITE):
    return trainer_of(
        "mixed_float16",
        optimizer=plain_sgd(segmenter),
        discriminator_optimizer=plain_sgd(discriminator),
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_share_of_left_out_updates_is_of_that_network_alone(network):
    trainer = in_float16(**{network: OVERFLOWING})
    # 2^127 overflows; halved 119 times it would not. Of both steps none is made.
    for seed in range(2):
        logs = trainer.train_step(random_batch(seed))
    shares = {name: float(logs[name]) for name in SKIPPED}
    assert shares == {f"skipped_{other}": float(other == network) for other in NETWORKS}


def test_losses_of_a_left_out_step_are_no_part_of_the_means():
    trainer, alone = in_float16(), in_float16()
    trainer.train_step(overflowing(random_batch(0)))
    logs = trainer.train_step(random_batch(1))
    expected = alone.train_step(random_batch(1))
    for name in ("loss", "cross_entropy", "discriminator"):
        assert float(logs[name]) == pytest.approx(float(expected[name]), rel=1e-6), name
    assert [float(logs[name]) for name in SKIPPED] == [0.5, 0.5]


def test_finite_losses_of_a_left_out_step_are_a_part_of_the_means():
    trainer, alone = in_float16(segmenter=OVERFLOWING), in_float16()
    logs, expected = (t.train_step(random_batch(0)) for t in (trainer, alone))
    assert float(logs["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-6)


def test_doubled_scale_is_no_left_out_step():
    trainer = in_float16()
    state = trainer.optimizer._loss_scale  # Keras has no other way to come near the doubling.
    state.counter.assign(state.growth_steps - 1)
    logs = trainer.train_step(random_batch(0))
    assert float(trainer.optimizer.loss_scale) == 2 * FINITE
    assert float(logs["skipped_segmenter"]) == 0


def test_without_loss_scaling_nothing_is_left_out_and_no_number_stays_none():
    trainer = trainer_of()
    logs = trainer.train_step(overflowing(random_batch(0)))
    assert not set(SKIPPED) & set(logs)
    assert math.isnan(logs["loss"])


@pytest.mark.parametrize("at_once", [1, 2])
def test_step_whose_batch_cannot_be_read_is_not_counted(at_once):
    def read(seed, batch):
        with tf.control_dependencies([tf.debugging.assert_less(seed, tf.constant(3, tf.int64))]):
            return tf.nest.map_structure(tf.identity, batch)

    numbered = tf.data.Dataset.zip((tf.data.Dataset.range(5), steps_of(range(5))))
    trainer, expected = trainer_of(), trainer_of()
    trainer.compile(trainer.optimizer, trainer.discriminator_optimizer, steps_per_execution=at_once)
    with pytest.raises(tf.errors.InvalidArgumentError):
        trainer.fit(numbered.map(read), steps_per_epoch=5, verbose=0)
    expected.fit(steps_of(range(3)), verbose=0)
    counts = trainer.step, trainer.optimizer.iterations, trainer.discriminator_optimizer.iterations
    assert [int(count) for count in counts] == [3, 3, 3]
    for network in NETWORKS:
        for own, other in zip(
            values(getattr(trainer, network)), values(getattr(expected, network))
        ):
            np.testing.assert_allclose(own, other, atol=1e-6)
