"""Averaged weights, and what they teach: the step of `teacher` and `semi_plus`."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_trainer import RECIPE, assert_close, assert_equal
from tiny_networks import random_batch, tiny_discriminator, tiny_segmenter, values

from tf_advseg.recipe import COIN_FLIP, baseline, semi_plus, teacher
from tf_advseg.training.trainer import AdversarialTrainer

EMA = dataclasses.replace(RECIPE, ema_decay=0.75, t_probability=0.4)
PLUS = semi_plus(EMA)


def trainer_of(recipe, averaged_seed=None, **options):
    """A trainer whose steps subtract the plain gradients; its teacher may be another network."""
    trainer = AdversarialTrainer(
        tiny_segmenter(), tiny_discriminator(), recipe, averaged=tiny_segmenter(seed=70), **options
    )
    trainer.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0))
    if averaged_seed is not None:
        trainer.averaged.set_weights(values(tiny_segmenter(seed=averaged_seed)))
    return trainer


def taught_batch(seed=0):
    """As `random_batch`, with a harder view: other images, of which the left half is swapped."""
    data = random_batch(seed)
    images, valid = data["unlabeled"]
    boxes = np.zeros(valid.shape, bool)
    boxes[:, :, :3] = True
    distorted = 255.0 - images
    return {**data, "unlabeled": (images, valid, distorted, tf.constant(boxes))}


def swapped(maps):
    """What CutMix makes of maps [2, H, W, ...] with the boxes above."""
    maps = np.array(maps)
    maps[:, :, :3] = maps[::-1, :, :3].copy()
    return maps


def test_averages_start_at_the_weights_and_follow_them():
    trainer = trainer_of(baseline(EMA))
    assert_equal(values(trainer.averaged), values(trainer.segmenter))
    averages = values(trainer.averaged)
    for step in range(40):
        trainer.train_step(random_batch(step, unlabeled=False))
        # Slower and slower: 1/10, 2/11, ... until the decay that was asked for, from step 25 on.
        decay = min(0.75, (1 + step) / (10 + step))
        averages = [
            decay * average + (1 - decay) * weight
            for average, weight in zip(averages, values(trainer.segmenter))
        ]
        assert_close(values(trainer.averaged), averages)
        assert trainer.evaluated is trainer.averaged


def test_averages_do_not_change_the_training():
    with_averages, without = (
        trainer_of(baseline(dataclasses.replace(EMA, ema_decay=decay))) for decay in (0.75, 0.0)
    )
    assert without.averaged is None and without.evaluated is without.segmenter
    for step in range(3):
        for trainer in (with_averages, without):
            trainer.train_step(random_batch(step, unlabeled=False))
    assert_equal(values(with_averages.segmenter), values(without.segmenter))


def test_recipe_with_averages_needs_a_network_for_them():
    with pytest.raises(ValueError, match="needs a network for them"):
        AdversarialTrainer(tiny_segmenter(), recipe=baseline(EMA))


def expected_step(recipe, data, with_discriminator):
    """The segmenter's gradients, and the semi-supervised loss, in plain steps."""
    segmenter, taught_by, judge = (
        tiny_segmenter(), tiny_segmenter(seed=50), tiny_discriminator()
    )  # fmt: skip
    images, labels = data["labeled"]
    weak, valid, distorted, _ = data["unlabeled"]
    probabilities = tf.nn.softmax(taught_by(weak)).numpy()
    weights = (probabilities.max(-1) > recipe.t_probability) & valid.numpy()
    if with_discriminator:
        weights = weights * tf.sigmoid(judge(probabilities))[..., 0].numpy()
    weights, pseudo, counts = (swapped(m) for m in (weights, probabilities.argmax(-1), valid))
    known = labels.numpy() != 255
    with tf.GradientTape() as tape:
        on_labeled = tf.nn.softmax(segmenter(images))
        on_unlabeled = tf.nn.softmax(segmenter(tf.constant(swapped(distorted))))
        of_truth = tf.gather(on_labeled, np.where(known, labels, 0), batch_dims=3)
        of_pseudo = tf.gather(on_unlabeled, pseudo, batch_dims=3)
        semi = tf.reduce_sum(-tf.math.log(of_pseudo) * weights) / counts.sum()
        loss = tf.reduce_sum(-tf.math.log(of_truth) * known) / known.sum() + 0.7 * semi
        if with_discriminator:
            said = [tf.sigmoid(judge(maps))[..., 0] for maps in (on_labeled, on_unlabeled)]
            loss += 0.5 * tf.reduce_sum(-tf.math.log(said[0]) * known) / known.sum()
            loss += 0.3 * tf.reduce_sum(-tf.math.log(said[1]) * counts) / counts.sum()
    variables = segmenter.trainable_variables
    gradients = [
        (g + recipe.weight_decay * v).numpy() * (10 if "head" in v.name else 1)
        for g, v in zip(tape.gradient(loss, variables), variables)
    ]
    return gradients, float(semi), (weights > 0).sum() / counts.sum()


@pytest.mark.parametrize("method", [teacher, semi_plus])
def test_step_learns_from_a_teacher_on_the_harder_view(method):
    recipe, data = method(EMA), taught_batch()
    gradients, semi, selected = expected_step(recipe, data, method is semi_plus)
    trainer = trainer_of(recipe, averaged_seed=50)
    assert (trainer.discriminator is not None) == (method is semi_plus)
    before = values(trainer.segmenter)
    logs = trainer.train_step(data)
    assert_close(values(trainer.segmenter), [w - g for w, g in zip(before, gradients)])
    assert float(logs["semi_supervised"]) == pytest.approx(semi, rel=1e-5)
    assert float(logs["selected_fraction"]) == pytest.approx(selected, rel=1e-5)
    assert 0 < selected < 1 and semi > 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mixing": COIN_FLIP}, "teacher.* mixing coin_flip; allowed: one_batch or separate"),
        ({"ema_decay": 0.0}, "teacher and needs an ema_decay above 0"),
    ],
)
@pytest.mark.parametrize("method", [teacher, semi_plus])
def test_teacher_that_cannot_teach_is_refused_before_the_first_step(method, changes, says):
    recipe = dataclasses.replace(method(EMA), **changes)
    with pytest.raises(ValueError, match=says):
        trainer_of(recipe)


def test_teacher_gets_no_gradient_and_only_the_averages():
    trainer = trainer_of(PLUS, averaged_seed=50)
    before = values(trainer.averaged)
    trainer.train_step(taught_batch())
    expected = [0.1 * a + 0.9 * w for a, w in zip(before, values(trainer.segmenter))]
    assert_close(values(trainer.averaged), expected)


def test_noise_differs_by_step_and_is_repeated_by_seed():
    noisy = dataclasses.replace(PLUS, instance_noise=0.5)

    def losses(seed):
        trainer = trainer_of(noisy, seed=seed)
        for optimizer in (trainer.optimizer, trainer.discriminator_optimizer):
            optimizer.learning_rate.assign(0.0)
        found = []
        for _ in range(3):
            trainer.reset_metrics()
            found.append(float(trainer.train_step(taught_batch())["discriminator"]))
        return found

    first = losses(0)
    assert len(set(first)) == 3
    assert losses(0) == first and losses(1) != first


def test_graph_equals_eager():
    eager, graph = trainer_of(PLUS, averaged_seed=50), trainer_of(PLUS, averaged_seed=50)
    step = tf.function(graph.train_step)
    for number in range(3):
        eager.train_step(taught_batch(number))
        step(taught_batch(number))
    for network in ("segmenter", "discriminator", "averaged"):
        assert_close(values(getattr(graph, network)), values(getattr(eager, network)))
