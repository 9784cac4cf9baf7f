"""What the recipes change in a step: fakes, targets, forward passes, and the coin."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import test_trainer
from test_trainer import trainer_of
from tiny_networks import VOID, random_batch, tiny_discriminator, tiny_segmenter, values

from tf_advseg.models.discriminator import build_discriminator
from tf_advseg.recipe import COIN_FLIP, ONE_BATCH, SEPARATE, adv
from tf_advseg.training import losses, optimizers, pseudo_labels
from tf_advseg.training.objective import Batch, Maps, Objective
from tf_advseg.training.trainer import AdversarialTrainer

LOG_2, LOG_3 = math.log(2), math.log(3)
RECIPE = dataclasses.replace(test_trainer.RECIPE, weight_decay=0.0, head_learning_rate_scale=1.0)

# One image of 1x3 pixels of each kind. Two labeled pixels count, and one unlabeled one.
BATCH = Batch(
    tf.zeros([1, 1, 3, 3]),
    tf.constant([[[0, 1, VOID]]]),
    tf.zeros([1, 1, 3, 3]),
    tf.constant([[[True, False, False]]]),
)


def pixels(*logits):
    return tf.reshape(tf.constant(logits, tf.float32), [1, 1, 3, 1])


# A logit of log 3 is a confidence of 3/4, and one of -log 3 of 1/4. Pixels that do not count say 9.
JUDGED = Maps(
    labeled=pixels(0.0, LOG_3, 9.0), unlabeled=pixels(-LOG_3, 9, 9), true=pixels(LOG_3, 0.0, 9.0)
)


# The first labeled pixel is right, the second wrong.
LOGITS = Maps(labeled=tf.constant([[[[5.0, 0, 0], [0, 0, 5], [0, 0, 0]]]]))


def loss_of(judged=JUDGED, **changes):
    recipe = dataclasses.replace(RECIPE, **changes)
    objective = Objective(tiny_segmenter(), None, recipe)
    values = objective.discriminator_losses(LOGITS, judged, BATCH)
    return float(objective.discriminator_loss(values))


# -log(1/2) and -log(1 - 3/4) of predictions; -log(3/4) and -log(1/2) of true labels.
PREDICTED, TRUE = (LOG_2 + 2 * LOG_2) / 2, (2 * LOG_2 - LOG_3 + LOG_2) / 2


def test_discriminator_loss_is_the_sum_of_two_means():
    assert loss_of() == pytest.approx(PREDICTED + TRUE)


def test_unlabeled_fakes_join_the_mean_over_predictions():
    # The unlabeled pixel's -log(1 - 1/4) makes a third one.
    predicted = (3 * LOG_2 + 2 * LOG_2 - LOG_3) / 3
    assert loss_of(unlabeled_fakes=True) == pytest.approx(predicted + TRUE)


def test_smoothed_target_costs_a_tenth_of_the_other_answer():
    # 0.9 (-log 3/4) + 0.1 (-log 1/4), and -log 1/2 whatever the target.
    true = (0.9 * (2 * LOG_2 - LOG_3) + 0.1 * 2 * LOG_2 + LOG_2) / 2
    assert loss_of(label_smoothing=0.1) == pytest.approx(PREDICTED + true)


def test_halved_loss_is_half():
    assert loss_of(discriminator_loss_scale=0.5) == pytest.approx((PREDICTED + TRUE) / 2)


def test_discriminator_stands_still_below_its_floor():
    loss = PREDICTED + TRUE
    assert loss_of(discriminator_floor=loss - 0.01) == pytest.approx(loss)
    assert loss_of(discriminator_floor=loss + 0.01) == 0


def test_second_map_learns_what_is_right():
    # A confidence of 3/4 in the right pixel, and of 1/2 in the wrong one.
    labeled = tf.concat([JUDGED.labeled, pixels(LOG_3, 0.0, 9.0)], axis=-1)
    correctness = (2 * LOG_2 - LOG_3 + LOG_2) / 2
    loss = loss_of(JUDGED._replace(labeled=labeled), lambda_confidence=3.0)
    assert loss == pytest.approx(PREDICTED + TRUE + 3 * correctness)


def test_confidences_are_means_over_the_labeled_pixels_that_count():
    judged = JUDGED._replace(true=pixels(LOG_3, LOG_3, -9.0))
    found = Objective(tiny_segmenter(), None, RECIPE).confidences(judged, BATCH)
    assert {name: float(value) for name, value in found.items()} == {
        "confidence_true": pytest.approx(3 / 4),
        "confidence_predicted": pytest.approx((1 / 2 + 3 / 4) / 2),
    }


@pytest.mark.parametrize("outputs", [1, 2])
def test_confidences_are_the_discriminators_probability_of_true(outputs):
    segmenter = tiny_segmenter()
    discriminator = build_discriminator(3, channels=2, outputs=outputs, init="torch")
    trainer = AdversarialTrainer(segmenter, discriminator, RECIPE)
    trainer.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    raw = keras.Model(discriminator.input, discriminator.get_layer("resize").output)

    def probability(maps):
        logits = raw(maps).numpy().astype(np.float64)
        if outputs == 1:
            return 1 / (1 + np.exp(-logits[..., 0]))
        powers = np.exp(logits)
        return powers[..., 1] / powers.sum(axis=-1)

    batch = random_batch(0)
    images, labels = batch["labeled"]
    known = labels.numpy() != VOID
    true = np.where(known[..., np.newaxis], np.eye(3)[np.where(known, labels, 0)], 0.0)
    returned = trainer.train_step(batch)
    for name, maps in (("true", true), ("predicted", tf.nn.softmax(segmenter(images)))):
        expected = probability(maps)[known].mean()
        assert float(returned[f"confidence_{name}"]) == pytest.approx(expected, rel=1e-5)
    assert float(returned["confidence_true"]) != float(returned["confidence_predicted"])


class Recorder:
    """A segmenter that notes what it is called on: the means of the images."""

    output_shape = (None, None, None, 3)

    def __init__(self):
        self.calls = []

    def __call__(self, images, training):
        assert training
        self.calls.append(images[:, 0, 0, 0].numpy().tolist())
        return images


@pytest.mark.parametrize(
    ("mixing", "calls"),
    [(ONE_BATCH, [[1.0, 2.0]]), (SEPARATE, [[2.0], [1.0]]), (COIN_FLIP, [[1.0, 2.0]])],
)
def test_mixing_decides_which_images_share_a_forward_pass(mixing, calls):
    segmenter = Recorder()
    objective = Objective(segmenter, None, dataclasses.replace(RECIPE, mixing=mixing))
    labeled, unlabeled = tf.fill([1, 1, 1, 3], 1.0), tf.fill([1, 1, 1, 3], 2.0)
    logits = objective.segment(Batch(labeled, None, unlabeled, None))
    assert segmenter.calls == calls
    assert logits.labeled.numpy().max() == 1.0 and logits.unlabeled.numpy().min() == 2.0


def test_one_kind_of_images_makes_one_forward_pass():
    segmenter = Recorder()
    objective = Objective(segmenter, None, dataclasses.replace(RECIPE, mixing=SEPARATE))
    images = tf.fill([1, 1, 1, 3], 1.0)
    assert objective.segment(Batch(images, None)).unlabeled is None
    assert objective.segment(Batch(None, None, images)).labeled is None
    assert segmenter.calls == [[1.0], [1.0]]


def by_coin(steps, seed=0, **changes):
    """The steps of a trainer that flips a coin: batch, weights before, trainer after."""
    recipe = dataclasses.replace(RECIPE, mixing=COIN_FLIP, **changes)
    trainer = trainer_of(recipe, seed=seed)
    step = tf.function(trainer.train_step)
    for index in range(steps):
        trainer.segmenter.set_weights(values(tiny_segmenter()))
        trainer.discriminator.set_weights(values(tiny_discriminator()))
        batch = random_batch(index)
        trainer.reset_metrics()
        logs = {name: float(value) for name, value in step(batch).items()}
        yield batch, logs, values(trainer.segmenter), values(trainer.discriminator)


def is_labeled(logs):
    return logs["cross_entropy"] > 0


@pytest.fixture(scope="module")
def coin_steps():
    """The steps by a coin of seed 0. Leave them as they are."""
    return list(by_coin(24))


def test_coin_falls_either_way_and_follows_from_seed_and_step(coin_steps):
    first = [is_labeled(s[1]) for s in coin_steps]
    again, other = ([is_labeled(s[1]) for s in by_coin(24, seed)] for seed in (0, 1))
    assert first == again != other
    assert 5 <= sum(first) <= 19


def test_labeled_step_of_a_coin_is_a_step_without_unlabeled_images(coin_steps):
    batch, logs, segmenter, discriminator = next(s for s in coin_steps if is_labeled(s[1]))
    expected = trainer_of(adv(RECIPE))
    expected.train_step(batch)
    for own, other in zip(segmenter, values(expected.segmenter), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)
    for own, other in zip(discriminator, values(expected.discriminator), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)
    assert logs["discriminator"] > 0
    assert logs["semi_supervised"] == logs["adversarial_unlabeled"] == 0


def test_unlabeled_step_of_a_coin_moves_the_segmenter_by_its_own_terms_alone(coin_steps):
    batch, logs, after, discriminator = next(s for s in coin_steps if not is_labeled(s[1]))
    segmenter, judge = tiny_segmenter(), tiny_discriminator()
    images, valid = batch["unlabeled"]
    with tf.GradientTape() as tape:
        logits = segmenter(images)
        said = judge(tf.nn.softmax(logits))
        said = tf.sigmoid(said)[..., 0]
        semi = pseudo_labels.own(logits, said, valid, RECIPE).loss(logits)
        loss = 0.3 * losses.masked_mean(-tf.math.log(said), valid) + 0.7 * semi
    gradients = tape.gradient(loss, segmenter.trainable_variables)
    assert float(semi) > 0
    for own, before, gradient in zip(after, values(tiny_segmenter()), gradients, strict=True):
        np.testing.assert_allclose(own, before - gradient, rtol=1e-5, atol=1e-6)
    for own, before in zip(discriminator, values(tiny_discriminator()), strict=True):
        np.testing.assert_array_equal(own, before)
    assert logs["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert logs["cross_entropy"] == logs["discriminator"] == 0


def test_coin_means_are_over_the_steps_that_have_the_term():
    trainer = trainer_of(dataclasses.replace(RECIPE, mixing=COIN_FLIP))
    trainer.optimizer.learning_rate.assign(0.0)
    trainer.discriminator_optimizer.learning_rate.assign(0.0)
    step, batch = tf.function(trainer.train_step), random_batch(0)
    for _ in range(12):
        logs = {name: float(value) for name, value in step(batch).items()}
    fixed = trainer_of(RECIPE).train_step(batch)
    for name in set(fixed) - {"loss"}:
        assert logs[name] == pytest.approx(float(fixed[name]), rel=1e-5)


def test_discriminators_rate_goes_by_the_runs_steps_and_its_adam_by_its_own():
    trainer = trainer_of(dataclasses.replace(RECIPE, mixing=COIN_FLIP), seed=1)
    adam = optimizers.discriminator_optimizer(0.5, 10, power=1.0, step=trainer.step)
    trainer.compile(keras.optimizers.SGD(0.0), adam)
    labeled = []
    for _ in range(8):
        trainer.reset_metrics()
        before = values(trainer.discriminator)
        rate = 0.5 * (1 - int(trainer.step) / 10)
        labeled.append(bool(is_labeled(trainer.train_step(random_batch(0)))))
        moved = max(np.abs(a - b).max() for a, b in zip(before, values(trainer.discriminator)))
        if labeled[-1] and sum(labeled) == 1:
            # Adam's first step is the rate times the sign of the gradient, whenever it comes.
            assert moved == pytest.approx(rate, rel=1e-3)
        assert (moved > 0) == labeled[-1]
    assert 0 < sum(labeled) < 8 and not labeled[0]
    assert int(adam.iterations) == sum(labeled)


def test_discriminators_weight_decay_is_added_to_its_gradient():
    plain, decayed = (
        trainer_of(RECIPE),
        trainer_of(dataclasses.replace(RECIPE, discriminator_weight_decay=0.25)),
    )
    for trainer in (plain, decayed):
        trainer.train_step(random_batch(0))
    before = values(tiny_discriminator())
    for own, other, start in zip(
        values(decayed.discriminator), values(plain.discriminator), before, strict=True
    ):
        np.testing.assert_allclose(own, other - 0.25 * start, rtol=1e-5, atol=1e-6)


def test_coin_flip_trains_under_loss_scaling():
    precision = "mixed_float16"
    trainer = AdversarialTrainer(
        tiny_segmenter(precision=precision),
        tiny_discriminator(precision=precision),
        dataclasses.replace(RECIPE, mixing=COIN_FLIP),
    )
    trainer.compile(
        optimizers.segmenter_optimizer(0.01, 9, precision=precision),
        optimizers.discriminator_optimizer(0.01, 9, precision=precision),
    )
    step = tf.function(trainer.train_step)
    before = values(trainer.segmenter), values(trainer.discriminator)
    for _ in range(6):
        logs = step(random_batch(0))
    assert all(np.isfinite(float(value)) for value in logs.values())
    assert 0 < int(trainer.discriminator_optimizer.iterations) < 6
    for old, network in zip(before, (trainer.segmenter, trainer.discriminator)):
        assert any((a != b).any() for a, b in zip(old, values(network)))
