"""The trainer under Keras' `fit` and `evaluate`, and in mixed precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_trainer import RECIPE
from tiny_networks import CLASSES, random_batch, tiny_discriminator, tiny_segmenter, values

from tf_advseg.evaluation import evaluator
from tf_advseg.evaluation.inference import Predictor
from tf_advseg.recipe import baseline
from tf_advseg.training import optimizers
from tf_advseg.training.precision import loss_scale
from tf_advseg.training.trainer import AdversarialTrainer

NETWORKS = ("segmenter", "discriminator")


def trainer_of(precision="float32", recipe=RECIPE, *, optimizer=None, discriminator_optimizer=None):
    trainer = AdversarialTrainer(
        tiny_segmenter(precision=precision), tiny_discriminator(precision=precision), recipe
    )
    trainer.compile(
        optimizer or optimizers.segmenter_optimizer(0.01, 100, precision=precision),
        discriminator_optimizer
        or optimizers.discriminator_optimizer(0.01, 100, precision=precision),
    )
    return trainer


def steps_of(seeds):
    batches = [random_batch(seed) for seed in seeds]
    return tf.data.Dataset.from_tensor_slices(
        tf.nest.map_structure(lambda *parts: tf.stack(parts), *batches)
    )


def labeled_split():
    return tf.data.Dataset.zip(
        tuple(
            tf.data.Dataset.from_tensor_slices(
                tf.concat([random_batch(seed)["labeled"][part] for seed in (7, 8)], 0)
            )
            for part in (0, 1)
        )
    )


def test_metrics_are_means_since_the_reset():
    alone = []
    trainer = trainer_of()
    for seed in range(3):
        trainer.reset_metrics()
        returned = trainer.train_step(random_batch(seed))
        alone.append({name: float(value) for name, value in returned.items()})
    together = trainer_of()
    for seed in range(3):
        returned = together.train_step(random_batch(seed))
    for name, value in returned.items():
        assert float(value) == pytest.approx(np.mean([a[name] for a in alone]), rel=1e-5)
    assert len({a["loss"] for a in alone}) == 3


def test_fit_takes_the_same_steps_as_single_ones_and_goes_on_counting():
    single, fitted = trainer_of(), trainer_of()
    for seed in range(4):
        single.train_step(random_batch(seed))
    history = fitted.fit(steps_of([0, 1]), verbose=0)
    assert int(fitted.step) == 2
    fitted.fit(steps_of([2, 3]), verbose=0)
    assert int(fitted.step) == 4
    assert set(history.history) == {metric.name for metric in fitted.metrics}
    for network in NETWORKS:
        for own, other in zip(values(getattr(single, network)), values(getattr(fitted, network))):
            np.testing.assert_allclose(own, other, atol=1e-6)


def test_fit_with_validation_reports_both_kinds_of_metrics():
    trainer = trainer_of()
    history = trainer.fit(
        steps_of([0, 1]), validation_data=labeled_split().batch(2), epochs=2, verbose=0
    ).history
    names = {metric.name for metric in trainer.metrics}
    assert set(history) == names | {"val_cross_entropy", "val_mean_iou"}
    assert "loss" in names
    measured = trainer.evaluate(labeled_split().batch(2), verbose=0, return_dict=True)
    assert measured["mean_iou"] == pytest.approx(history["val_mean_iou"][-1])


def test_validation_measures_what_the_evaluator_does():
    trainer = trainer_of()
    measured = trainer.evaluate(labeled_split().batch(2), verbose=0, return_dict=True)
    assert set(measured) == {"cross_entropy", "mean_iou"}
    scores = evaluator.evaluate(Predictor(trainer.segmenter), labeled_split(), CLASSES, 0.5)
    assert measured["mean_iou"] == pytest.approx(scores.mean_iou, rel=1e-5)
    batches = []
    for seed in (7, 8):
        images, labels = random_batch(seed)["labeled"]
        known = labels.numpy() != 255
        probabilities = tf.nn.softmax(trainer(images)).numpy()
        batches.append(-np.log(probabilities[known, labels.numpy()[known]]).mean())
    assert measured["cross_entropy"] == pytest.approx(np.mean(batches), rel=1e-5)


class Counting(keras.layers.Layer):
    """Passes its input on, and notes of each call whether it is one of training."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = ()

    def call(self, inputs, training):
        self.calls += (training,)
        return inputs


def test_segmenter_runs_once_in_a_step_and_discriminator_once_on_each_kind():
    # Spectral normalisation rewrites the kernels in each training call: that is the first alone.
    counters, networks = [], []
    for network in (tiny_segmenter(), tiny_discriminator()):
        counters.append(Counting())
        networks.append(keras.Model(network.input, counters[-1](network.output)))
    trainer = AdversarialTrainer(*networks, RECIPE)
    trainer.compile(plain_sgd(), plain_sgd())
    for counter in counters:
        counter.calls = ()
    trainer.train_step(random_batch())
    assert [counter.calls for counter in counters] == [(True,), (True, False, False)]


def test_calling_the_trainer_segments():
    trainer = trainer_of()
    images, _ = random_batch()["labeled"]
    np.testing.assert_array_equal(trainer(images), trainer.segmenter(images))


def test_trainer_keeps_no_discriminator_that_its_recipe_does_not_use():
    trainer = trainer_of(recipe=baseline(RECIPE))
    assert trainer.discriminator is None
    assert len(trainer.trainable_variables) == len(trainer.segmenter.trainable_variables)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_float32_weights(precision):
    trainer = trainer_of(precision)
    before = {network: values(getattr(trainer, network)) for network in NETWORKS}
    history = trainer.fit(steps_of([0, 1]), verbose=0).history
    assert all(np.isfinite(value).all() for value in history.values())
    for network in NETWORKS:
        weights = getattr(trainer, network).weights
        assert {weight.dtype for weight in weights} == {tf.float32}
        for old, new in zip(before[network], weights):
            assert np.isfinite(new).all()
            assert (old != new.numpy()).any()
    scaled = precision == "mixed_float16"
    for optimizer in (trainer.optimizer, trainer.discriminator_optimizer):
        assert isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer) == scaled
        assert int(optimizer.iterations) == 2


def plain_sgd(initial_scale=None):
    optimizer = keras.optimizers.SGD(1.0)
    if initial_scale is None:
        return optimizer
    return keras.mixed_precision.LossScaleOptimizer(optimizer, initial_scale=initial_scale)


@pytest.mark.parametrize("scaled", NETWORKS)
def test_loss_scaling_leaves_the_update_as_it_is(scaled):
    # Both in float32, so that nothing but the scale differs.
    plain = trainer_of(optimizer=plain_sgd(), discriminator_optimizer=plain_sgd())
    scales = {"segmenter": 1.0, "discriminator": 1.0, scaled: 2.0**10}
    other = trainer_of(
        optimizer=plain_sgd(scales["segmenter"]),
        discriminator_optimizer=plain_sgd(scales["discriminator"]),
    )
    returned = [trainer.train_step(random_batch()) for trainer in (plain, other)]
    for network in NETWORKS:
        own, others = (values(getattr(trainer, network)) for trainer in (plain, other))
        for value, other_value in zip(own, others):
            np.testing.assert_allclose(value, other_value, rtol=1e-4, atol=1e-6)
    # What is shown is the loss without its scale.
    for name in returned[0]:
        assert float(returned[0][name]) == pytest.approx(float(returned[1][name]), rel=1e-5)


@pytest.mark.parametrize("overflowing", NETWORKS)
def test_overflow_skips_the_step_of_that_network_and_halves_its_scale(overflowing):
    scales = {"segmenter": 2.0**4, "discriminator": 2.0**4, overflowing: 2.0**127}
    trainer = trainer_of(
        "mixed_float16",
        optimizer=plain_sgd(scales["segmenter"]),
        discriminator_optimizer=plain_sgd(scales["discriminator"]),
    )
    by_network = dict(zip(NETWORKS, (trainer.optimizer, trainer.discriminator_optimizer)))
    before = {network: values(getattr(trainer, network)) for network in NETWORKS}
    trainer.fit(steps_of([0]), verbose=0)
    assert int(trainer.step) == 1
    for network, optimizer in by_network.items():
        skipped = network == overflowing
        unchanged = [
            np.array_equal(old, new)
            for old, new in zip(before[network], values(getattr(trainer, network)))
        ]
        assert all(unchanged) if skipped else not any(unchanged)
        assert int(optimizer.iterations) == 1  # The learning rate keeps to the trainer's step.
        assert float(loss_scale(optimizer)) == scales[network] / (2 if skipped else 1)


def test_infinite_input_skips_both_steps():
    trainer = trainer_of("mixed_float16")
    before = {network: values(getattr(trainer, network)) for network in NETWORKS}
    data = random_batch()
    images, labels = data["labeled"]
    trainer.train_step({**data, "labeled": (images * np.inf, labels)})
    for network in NETWORKS:
        for old, new in zip(before[network], values(getattr(trainer, network))):
            np.testing.assert_array_equal(old, new)
    assert float(loss_scale(trainer.optimizer)) == 2**14
    assert float(loss_scale(trainer.discriminator_optimizer)) == 2**14
