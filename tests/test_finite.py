"""Numbers that are none: no checkpoint holds one, and a run that meets one ends and says so."""

import math

import keras
import pytest
from test_checkpoints import numbers, take_steps, trainer_of
from test_trainer_fit import NETWORKS
from tiny_networks import tiny_discriminator, tiny_segmenter

from tests.runs import TINY, call
from tf_advseg.config import train_config
from tf_advseg.recipe import Recipe
from tf_advseg.training import divergence, finite, optimizers
from tf_advseg.training.checkpoints import Checkpoints
from tf_advseg.training.trainer import AdversarialTrainer


def with_batch_norm():
    """Returns a trainer whose segmenter has statistics that no gradient reaches."""
    network = tiny_segmenter()
    normalized = keras.Model(network.input, keras.layers.BatchNormalization()(network.output))
    trainer = AdversarialTrainer(normalized, tiny_discriminator(), Recipe(semi_start=0))
    trainer.compile(
        optimizers.segmenter_optimizer(0.01, 9), optimizers.discriminator_optimizer(0.01, 9)
    )
    return trainer


def bias(trainer):
    return trainer.discriminator.get_layer("conv2").bias


def statistics(trainer):
    return next(w for w in trainer.segmenter.weights if "moving_variance" in w.name)


def velocity(trainer):
    return trainer.optimizer.variables[-1]


@pytest.mark.parametrize(
    ("pick", "named"),
    [
        (bias, "the discriminator's conv2/bias"),
        (statistics, "the segmenter's batch_normalization.*/moving_variance"),
        (velocity, "the segmenter optimizer's m/"),
    ],
)
def test_value_that_is_no_number_is_not_saved(tmp_path, pick, named):
    trainer = with_batch_norm()
    checkpoints = Checkpoints(tmp_path, trainer)
    take_steps(trainer, 1)
    checkpoints.save()
    checkpoints.save_if_best(0.1)
    take_steps(trainer, 1)
    pick(trainer).assign(pick(trainer) * math.inf)
    for save in (checkpoints.save, lambda: checkpoints.save_if_best(0.2)):
        with pytest.raises(FloatingPointError, match=f"step 2: {named}.* is not finite"):
            save()
    assert numbers(tmp_path / "checkpoints") == [1]
    assert numbers(tmp_path / "checkpoints" / "best") == [1]
    assert checkpoints.best() == pytest.approx(0.1)


# Steps that loss scaling skips


def begun(network, scale):
    """Returns a callback in a training that has begun, in which it looks at one network."""
    trainer = trainer_of(precision="mixed_float16")
    callback = divergence.StopAtLeastLossScale(20)
    callback.set_model(trainer)
    callback.on_train_begin()

    def look(step, share, *, scale=scale):
        optimizer = trainer.optimizer if network == "segmenter" else trainer.discriminator_optimizer
        optimizer._loss_scale.current_loss_scale.assign(scale)
        callback.on_step(step, {f"skipped_{network}": share})

    return look


@pytest.mark.parametrize("network", NETWORKS)
def test_overflow_in_every_step_at_the_least_scale_ends_the_run(network):
    look = begun(network, 1.0)
    for step in range(1, 20):
        look(step, 1.0)
    with pytest.raises(FloatingPointError) as caught:
        look(20, 1.0)
    assert str(caught.value) == (
        f"steps 1 to 20: the gradients of the {network} overflow in every step, though the loss "
        "scale is at its least, 1"
    )


def test_skipped_steps_while_the_scale_falls_are_normal():
    look = begun("segmenter", 2.0)
    for step in range(1, 100):
        look(step, 1.0)


def test_good_step_begins_the_count_anew():
    look = begun("segmenter", 1.0)
    for step in range(1, 20):
        look(step, 1.0)
    look(20, 0.95)
    for step in range(21, 40):
        look(step, 1.0)
    with pytest.raises(FloatingPointError, match="steps 21 to 40: "):
        look(40, 1.0)


# What is said


def test_advice_names_the_last_checkpoint_and_the_flags(tmp_path):
    flags = ["--run_dir", str(tmp_path), "--precision", "mixed_float16", "--method", "adv"]
    config = train_config([*flags, "--learning_rate", "0.3"])
    tries = (
        "a lower --learning_rate (now 0.3), or a lower --discriminator_learning_rate (now 0.001)"
        ", or --precision float32"
    )
    with pytest.raises(FloatingPointError) as caught, finite.explained(config):
        raise FloatingPointError("step 3: loss is not finite")
    first = "step 3: loss is not finite; there is no checkpoint yet"
    assert str(caught.value) == f"{first}; try a new --run_dir with {tries}"
    trainer = trainer_of()
    take_steps(trainer, 2)
    Checkpoints(tmp_path, trainer).save()
    last = tmp_path / "checkpoints" / "step-2"
    with pytest.raises(FloatingPointError) as caught, finite.explained(config):
        raise FloatingPointError("step 3: loss is not finite")
    assert str(caught.value) == (
        f"step 3: loss is not finite; the last good checkpoint is {last} (step 2); "
        f"try a new --run_dir with --weights {last} and {tries}"
    )


def test_advice_names_no_flag_that_means_nothing(tmp_path):
    flags = ["--run_dir", str(tmp_path), "--precision", "float32", "--learning_rate", "0.1"]
    config = train_config([*flags, "--method", "baseline"])
    with pytest.raises(FloatingPointError) as caught, finite.explained(config):
        raise FloatingPointError("step 3: loss is not finite")
    assert str(caught.value).endswith("try a new --run_dir with a lower --learning_rate (now 0.1)")


def test_run_that_diverges_ends_with_one_line_and_its_checkpoint(voc_folder, tmp_path, capsys):
    flags = ("--dataset", "folder", "--data_dir", voc_folder(train=2, val=1), "--method", "adv")
    more = ("--steps", "9", "--checkpoint_every", "2", "--eval_every", "9")
    rate = ("--learning_rate", "1e9", "--run_dir", tmp_path / "run")
    assert call("train", *flags, *TINY, *more, *rate) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: step "), line
    assert " is not finite; " in line
    found = numbers(tmp_path / "run" / "checkpoints")
    assert found
    assert f"the last good checkpoint is {tmp_path}/run/checkpoints/step-{found[-1]} " in line
