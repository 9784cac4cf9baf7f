"""One training step against gradients that are computed here from the paper's equations."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import CLASSES, VOID, random_batch, tiny_discriminator, tiny_segmenter, values

from tf_advseg.recipe import Recipe, adv, baseline, semi
from tf_advseg.training import optimizers
from tf_advseg.training.trainer import AdversarialTrainer

#: Every term matters, and about half of the unlabeled pixels are selected.
RECIPE = Recipe(
    lambda_adv=0.5,
    lambda_adv_unlabeled=0.3,
    lambda_semi=0.7,
    t_semi=0.15,
    semi_start=0,
    weight_decay=0.01,
    head_learning_rate_scale=10.0,
)
METHODS = {"baseline": baseline(RECIPE), "adv": adv(RECIPE), "semi": semi(RECIPE)}


def sgd(learning_rate=1.0):
    return keras.optimizers.SGD(learning_rate)


def trainer_of(recipe, *, kernel=3, seed=0, optimizer=None, discriminator_optimizer=None):
    """A trainer whose steps subtract the plain gradients, unless optimizers are given."""
    networks = tiny_segmenter(kernel=kernel), tiny_discriminator(kernel=kernel)
    trainer = AdversarialTrainer(*networks, recipe, seed=seed)
    trainer.compile(optimizer or sgd(), discriminator_optimizer or sgd())
    return trainer


def mean_where(terms, mask):
    """The mean of terms [B, H, W] over a mask, as a plain sum over a plain count."""
    mask = np.asarray(mask, np.float32)
    return tf.reduce_sum(terms * mask) / max(1.0, mask.sum())


def discriminator_loss(discriminator, probabilities, labels):
    """L_D, equation 1: -(1 - y) log(1 - D(S(x))) - y log D(truth)."""
    known = labels.numpy() != VOID
    truth = np.eye(CLASSES + 1, dtype=np.float32)[np.where(known, labels, CLASSES)][..., :CLASSES]
    said_of_truth = tf.sigmoid(discriminator(truth))[..., 0]
    said_of_prediction = tf.sigmoid(discriminator(probabilities))[..., 0]
    return mean_where(-tf.math.log(said_of_truth), known) + mean_where(
        -tf.math.log(1 - said_of_prediction), known
    )


def segmenter_losses(segmenter, discriminator, recipe, data, step=0):
    """Equations 2 to 5: the whole loss, and its terms."""
    images, labels = data["labeled"]
    known = labels.numpy() != VOID
    probabilities = tf.nn.softmax(segmenter(images))
    of_truth = tf.gather(probabilities, np.where(known, labels, 0), batch_dims=3)
    terms = {"cross_entropy": mean_where(-tf.math.log(of_truth), known)}
    total = terms["cross_entropy"]
    if recipe.lambda_adv:
        judged = tf.sigmoid(discriminator(probabilities))[..., 0]
        terms["adversarial_labeled"] = mean_where(-tf.math.log(judged), known)
        total += recipe.lambda_adv * terms["adversarial_labeled"]
    if recipe.lambda_adv_unlabeled or recipe.lambda_semi:
        images, valid = data["unlabeled"]
        probabilities = tf.nn.softmax(segmenter(images))
        judged = tf.sigmoid(discriminator(probabilities))[..., 0]
    if recipe.lambda_adv_unlabeled:
        terms["adversarial_unlabeled"] = mean_where(-tf.math.log(judged), valid)
        total += recipe.lambda_adv_unlabeled * terms["adversarial_unlabeled"]
    if recipe.lambda_semi:
        selected = (judged.numpy() > recipe.t_semi) & valid.numpy()
        pseudo_labels = probabilities.numpy().argmax(-1)
        of_pseudo_label = tf.gather(probabilities, pseudo_labels, batch_dims=3)
        terms["semi_supervised"] = mean_where(-tf.math.log(of_pseudo_label), selected)
        terms["selected_fraction"] = selected.sum() / valid.numpy().sum()
        if step >= recipe.semi_start:
            total += recipe.lambda_semi * terms["semi_supervised"]
    return total, terms


def expected_gradients(trainer, recipe, data, step=0):
    """Both networks' gradients at the weights of now, in two tapes; the segmenter's with L2."""
    segmenter, discriminator = trainer.segmenter, tiny_discriminator()
    if trainer.discriminator is not None:
        discriminator = trainer.discriminator
    with tf.GradientTape() as tape:
        loss, _ = segmenter_losses(segmenter, discriminator, recipe, data, step)
    of_segmenter = [
        (g + recipe.weight_decay * v).numpy()
        * (recipe.head_learning_rate_scale if "head" in v.name else 1)
        for g, v in zip(
            tape.gradient(loss, segmenter.trainable_variables), segmenter.trainable_variables
        )
    ]
    images, labels = data["labeled"]
    probabilities = tf.constant(tf.nn.softmax(segmenter(images)).numpy())
    with tf.GradientTape() as tape:
        loss = discriminator_loss(discriminator, probabilities, labels)
    of_discriminator = tape.gradient(loss, discriminator.trainable_variables)
    return of_segmenter, [g.numpy() for g in of_discriminator]


def moves(trainer, data):
    """How far one step moves each network's weights."""
    networks = [trainer.segmenter, trainer.discriminator]
    before = [values(network) if network else [] for network in networks]
    trainer.train_step(data)
    after = [values(network) if network else [] for network in networks]
    return [[b - a for a, b in zip(old, new)] for old, new in zip(before, after)]


def assert_close(actual, expected):
    for own, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=2e-6)


def assert_equal(actual, expected):
    for own, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("method", METHODS)
def test_step_takes_both_gradients_at_the_weights_before_it(method):
    recipe = METHODS[method]
    trainer = trainer_of(recipe)
    for seed in range(2):
        data = random_batch(seed, unlabeled=method == "semi")
        of_segmenter, of_discriminator = expected_gradients(trainer, recipe, data)
        assert all(np.any(gradient) for gradient in of_segmenter)
        moved_segmenter, moved_discriminator = moves(trainer, data)
        assert_close(moved_segmenter, [-gradient for gradient in of_segmenter])
        if method == "baseline":
            assert trainer.discriminator is None
        else:
            assert_close(moved_discriminator, [-gradient for gradient in of_discriminator])


def test_first_selection_is_neither_empty_nor_everything():
    trainer = trainer_of(RECIPE)
    share = float(trainer.train_step(random_batch())["selected_fraction"])
    assert 0.2 < share < 0.8


def test_nesterov_steps_under_the_poly_rate_equal_hand_ones():
    trainer = trainer_of(RECIPE, optimizer=optimizers.segmenter_optimizer(0.1, 4))
    velocity = [0.0] * 4
    for step in range(2):
        data = random_batch(step)
        gradients, _ = expected_gradients(trainer, RECIPE, data, step)
        rate = 0.1 * (1 - step / 4) ** 0.9
        velocity = [0.9 * v - rate * g for v, g in zip(velocity, gradients)]
        moved, _ = moves(trainer, data)
        assert_close(moved, [0.9 * v - rate * g for v, g in zip(velocity, gradients)])


@pytest.mark.parametrize("still", ["segmenter", "discriminator"])
def test_each_networks_losses_move_that_network_only(still):
    rates = {"segmenter": 1.0, "discriminator": 1.0, still: 0.0}
    trainer = trainer_of(
        RECIPE,
        optimizer=sgd(rates["segmenter"]),
        discriminator_optimizer=sgd(rates["discriminator"]),
    )
    moved = dict(zip(("segmenter", "discriminator"), moves(trainer, random_batch())))
    assert not any(move.any() for move in moved.pop(still))
    (other,) = moved.values()
    assert all(move.any() for move in other)


@pytest.mark.parametrize("method", METHODS)
def test_step_returns_its_losses_under_the_names_of_the_metrics(method):
    recipe = METHODS[method]
    trainer = trainer_of(recipe)
    data = random_batch()
    discriminator = trainer.discriminator or tiny_discriminator()
    loss, expected = segmenter_losses(trainer.segmenter, discriminator, recipe, data)
    expected["loss"] = loss
    if method != "baseline":
        probabilities = tf.nn.softmax(trainer.segmenter(data["labeled"][0]))
        labels = data["labeled"][1]
        expected["discriminator"] = discriminator_loss(discriminator, probabilities, labels)
        known = labels.numpy() != VOID
        truth = tf.one_hot(np.where(known, labels, -1), CLASSES)
        for name, maps in (("true", truth), ("predicted", probabilities)):
            said = tf.sigmoid(discriminator(maps))[..., 0]
            expected[f"confidence_{name}"] = said.numpy()[known].mean()
    returned = trainer.train_step(data)
    assert {name: float(value) for name, value in returned.items()} == {
        name: pytest.approx(float(value), rel=1e-5) for name, value in expected.items()
    }
    assert [metric.name for metric in trainer.metrics] == list(returned)


def test_semi_supervised_term_counts_from_its_first_step_on():
    late, never = (
        trainer_of(
            replace(RECIPE, **change),
            optimizer=sgd(0.1),
            discriminator_optimizer=sgd(0.1),
        )
        for change in ({"semi_start": 2}, {"lambda_semi": 0.0})
    )
    for step in range(3):
        data = random_batch(step)
        reported = float(late.train_step(data)["semi_supervised"])
        never.train_step(data)
        assert reported > 0
        same = np.allclose(values(late.segmenter)[0], values(never.segmenter)[0], atol=1e-6)
        assert same == (step < 2)


@pytest.mark.parametrize(
    ("weight", "tracked"),
    [
        ("lambda_adv", {"adversarial_labeled"}),
        ("lambda_adv_unlabeled", {"adversarial_unlabeled"}),
        ("lambda_semi", {"semi_supervised", "selected_fraction"}),
    ],
)
def test_zero_weight_switches_a_term_off(weight, tracked):
    everything = set(trainer_of(RECIPE).train_step(random_batch()))
    recipe = replace(RECIPE, **{weight: 0.0})
    trainer = trainer_of(recipe)
    data = random_batch()
    gradients, _ = expected_gradients(trainer, recipe, data)
    before = values(trainer.segmenter)
    assert everything - set(trainer.train_step(data)) == tracked
    moved = [b - a for a, b in zip(before, values(trainer.segmenter))]
    assert_close(moved, [-gradient for gradient in gradients])


@pytest.mark.parametrize("weight", ["lambda_adv_unlabeled", "lambda_semi"])
def test_unlabeled_images_are_needed_while_one_term_is_on(weight):
    off = {"lambda_adv_unlabeled": 0.0, "lambda_semi": 0.0}
    data = random_batch(unlabeled=False)
    trainer_of(replace(RECIPE, **off)).train_step(data)
    with pytest.raises(KeyError, match="unlabeled"):
        trainer_of(replace(RECIPE, **{**off, weight: 0.1})).train_step(data)


def test_empty_selection_leaves_the_other_terms_as_they_are():
    nothing_selected = trainer_of(replace(RECIPE, t_semi=1.0))
    without = trainer_of(replace(RECIPE, lambda_semi=0.0))
    returned = nothing_selected.train_step(random_batch())
    without.train_step(random_batch())
    assert float(returned["selected_fraction"]) == float(returned["semi_supervised"]) == 0
    for network in ("segmenter", "discriminator"):
        assert_close(values(getattr(nothing_selected, network)), values(getattr(without, network)))


def test_unlabeled_images_that_are_all_padding_change_nothing():
    padded, without = trainer_of(RECIPE), trainer_of(adv(RECIPE))
    data = random_batch()
    images, valid = data["unlabeled"]
    padded.train_step({**data, "unlabeled": (images, tf.zeros_like(valid))})
    without.train_step(data)
    assert_close(values(padded.segmenter), values(without.segmenter))


@pytest.mark.parametrize("kind", ["labeled", "unlabeled"])
def test_pixels_that_do_not_count_change_nothing(kind):
    # Pixel by pixel networks: a pixel of the image meets only its own loss.
    data = random_batch()
    images, marks = data[kind]
    ignored = marks == VOID if kind == "labeled" else ~marks
    other = tf.where(ignored[..., tf.newaxis], 255.0 - images, images)
    assert np.abs(other - images).max() > 10
    trainers = [trainer_of(RECIPE, kernel=1) for _ in range(2)]
    first = trainers[0].train_step(data)
    second = trainers[1].train_step({**data, kind: (other, marks)})
    for name in first:
        assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-6), name
    for network in ("segmenter", "discriminator"):
        own, others = (values(getattr(trainer, network)) for trainer in trainers)
        assert_close(own, others)


@pytest.mark.parametrize("method", ["adv", "semi"])
def test_recipe_with_adversarial_terms_needs_a_discriminator_and_its_optimizer(method):
    with pytest.raises(ValueError, match="needs a discriminator"):
        AdversarialTrainer(tiny_segmenter(), None, METHODS[method])
    trainer = AdversarialTrainer(tiny_segmenter(), tiny_discriminator(), METHODS[method])
    with pytest.raises(ValueError, match="needs its optimizer"):
        trainer.compile(sgd())


def test_baseline_needs_no_discriminator():
    trainer = AdversarialTrainer(tiny_segmenter(), recipe=METHODS["baseline"])
    trainer.compile(sgd())
    trainer.train_step(random_batch(unlabeled=False))
    assert int(trainer.step) == 1
