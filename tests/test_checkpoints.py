"""Checkpoints: everything comes back, the best is kept, wrong ones are refused."""

import math

import numpy as np
import pytest
import tensorflow as tf
from tiny_networks import random_batch, tiny_discriminator, tiny_segmenter, values

from tf_advseg.errors import InputError
from tf_advseg.models.discriminator import build_discriminator
from tf_advseg.models.segmenter import build_segmenter
from tf_advseg.options import MIN_CROP_SIZE
from tf_advseg.recipe import Recipe, adv, baseline
from tf_advseg.saved_run import find_checkpoint, restore_networks
from tf_advseg.training import optimizers
from tf_advseg.training.checkpoints import Checkpoints
from tf_advseg.training.precision import loss_scale
from tf_advseg.training.trainer import AdversarialTrainer

RECIPE = Recipe(t_semi=0.3, semi_start=0)


def trainer_of(*, seed=0, precision="float32", recipe=RECIPE):
    trainer = AdversarialTrainer(
        tiny_segmenter(precision=precision, seed=seed),
        tiny_discriminator(precision=precision, seed=seed + 10),
        recipe,
    )
    trainer.compile(
        optimizers.segmenter_optimizer(0.05, 50, precision=precision),
        optimizers.discriminator_optimizer(0.05, 50, precision=precision),
    )
    return trainer


def take_steps(trainer, steps, size=(6, 7)):
    for _ in range(steps):
        trainer.train_step(random_batch(int(trainer.step), size=size))


def inner(optimizer):
    """The optimizer under loss scaling, or the optimizer itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def state(trainer):
    """Every value that training depends on."""
    networks, wrapped = [trainer.segmenter], [trainer.optimizer]
    if trainer.discriminator is not None:
        networks.append(trainer.discriminator)
        wrapped.append(trainer.discriminator_optimizer)
    parts = [weight for network in networks for weight in network.weights]
    parts += [v for optimizer in wrapped for v in inner(optimizer).variables]
    scales = [loss_scale(optimizer) for optimizer in wrapped]
    parts += [tf.convert_to_tensor(scale) for scale in scales if scale is not None]
    return [part.numpy().copy() for part in (*parts, trainer.step)]


def assert_equal(actual, expected):
    for own, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(own, other)


def numbers(folder):
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob("step-*.index"))


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_restored_training_goes_on_to_the_bit(tmp_path, precision):
    trainer = trainer_of(precision=precision)
    checkpoints = Checkpoints(tmp_path, trainer)
    take_steps(trainer, 3)
    images, labels = (data := random_batch())["labeled"]
    if precision == "mixed_float16":  # An overflow changes the loss scales.
        trainer.train_step({**data, "labeled": (images * np.inf, labels)})
        assert float(loss_scale(trainer.optimizer)) == 2**14
    checkpoints.save_if_best(0.25)
    checkpoints.save()
    restored = trainer_of(seed=50, precision=precision)
    own = Checkpoints(tmp_path, restored)
    assert own.restore() == int(trainer.step) >= 3
    assert_equal(state(restored), state(trainer))
    assert float(own.best_mean_iou) == 0.25
    # Momentum is there, and not as it was built.
    assert all(np.any(m) for m in inner(restored.optimizer).momentums)
    for either in (trainer, restored):
        take_steps(either, 2)
    assert_equal(state(restored), state(trainer))


def test_restoring_from_an_empty_folder_starts_at_step_zero(tmp_path):
    trainer = trainer_of()
    before = state(trainer)
    assert Checkpoints(tmp_path, trainer).restore() == 0
    assert_equal(state(trainer), before)


def test_baseline_is_saved_and_restored_without_a_discriminator(tmp_path):
    trainer = trainer_of(recipe=baseline(RECIPE))
    take_steps(trainer, 2)
    Checkpoints(tmp_path, trainer).save()
    restored = trainer_of(seed=50, recipe=baseline(RECIPE))
    assert Checkpoints(tmp_path, restored).restore() == 2
    assert_equal(state(restored), state(trainer))


def test_best_is_kept_only_when_it_is_better(tmp_path):
    trainer = trainer_of(recipe=adv(RECIPE))
    checkpoints = Checkpoints(tmp_path, trainer)
    best = tmp_path / "checkpoints" / "best"
    outcomes = []
    for mean_iou, kept_step in ((0.3, 1), (0.2, 1), (0.3, 1), (math.nan, 1), (0.4, 5)):
        take_steps(trainer, 1)
        outcomes.append(checkpoints.save_if_best(mean_iou))
        assert numbers(best) == [kept_step]
    assert outcomes == [True, False, False, False, True]
    assert float(checkpoints.best_mean_iou) == pytest.approx(0.4)


def test_best_of_before_the_last_checkpoint_is_there_until_the_next(tmp_path):
    """A run that is killed goes on from its last checkpoint, whatever was validated since."""
    trainer, best = trainer_of(), tmp_path / "checkpoints" / "best"
    checkpoints = Checkpoints(tmp_path, trainer)
    for step, mean_iou in ((1, 0.1), (2, 0.2), (3, None), (4, 0.3), (5, 0.4)):
        take_steps(trainer, 1)
        if mean_iou is None:
            checkpoints.save()
        else:
            checkpoints.save_if_best(mean_iou)
        assert numbers(best) == {1: [1], 2: [2], 3: [2], 4: [2, 4], 5: [2, 5]}[step]
    assert find_checkpoint(tmp_path, "best") == str(best / "step-5")
    resumed = Checkpoints(tmp_path, trainer_of(seed=50))
    assert resumed.restore() == 3
    assert (numbers(best), resumed.best()) == ([2], 0.2)
    assert find_checkpoint(tmp_path, "best") == str(best / "step-2")


def test_best_is_remembered_over_a_resume(tmp_path):
    trainer = trainer_of()
    checkpoints = Checkpoints(tmp_path, trainer)
    take_steps(trainer, 1)
    checkpoints.save_if_best(0.3)
    checkpoints.save()
    resumed = Checkpoints(tmp_path, trainer_of(seed=50))
    resumed.restore()
    assert not resumed.save_if_best(0.25)
    assert resumed.save_if_best(0.35)


def test_only_the_last_three_are_kept_and_the_best_beside_them(tmp_path):
    trainer = trainer_of()
    checkpoints = Checkpoints(tmp_path, trainer)
    for step in range(1, 7):
        take_steps(trainer, 1)
        if step == 2:
            checkpoints.save_if_best(0.9)
        checkpoints.save()
    assert numbers(tmp_path / "checkpoints") == [4, 5, 6]
    assert numbers(tmp_path / "checkpoints" / "best") == [2]


def test_a_step_is_saved_once(tmp_path):
    trainer = trainer_of()
    checkpoints = Checkpoints(tmp_path, trainer)
    take_steps(trainer, 1)
    checkpoints.save()
    (index,) = (tmp_path / "checkpoints").glob("*.index")
    written = index.stat().st_mtime_ns
    checkpoints.save()
    resumed = Checkpoints(tmp_path, trainer)
    resumed.restore()
    resumed.save()
    assert index.stat().st_mtime_ns == written


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with steps 1 and 2, the first the best; and the weights of each."""
    folder = tmp_path_factory.mktemp("run")
    trainer = trainer_of()
    checkpoints = Checkpoints(folder, trainer)
    take_steps(trainer, 1)
    checkpoints.save_if_best(0.5)
    checkpoints.save()
    first = values(trainer.segmenter)
    take_steps(trainer, 1)
    checkpoints.save()
    return folder, first, values(trainer.segmenter)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("last", 2),
        ("best", 1),
        ("{run}/checkpoints/step-1", 1),
        ("{run}/checkpoints/step-2.index", 2),
        ("{run}/checkpoints/best/step-1", 1),
    ],
)
def test_checkpoint_is_found_by_its_name(run, name, step):
    folder, *by_step = run
    segmenter = tiny_segmenter(seed=50)
    found = find_checkpoint(folder, name.format(run=folder))
    assert restore_networks(found, segmenter, tiny_discriminator(seed=60)) == step
    assert_equal(values(segmenter), by_step[step - 1])


def test_missing_checkpoint_is_an_input_error_that_says_what_is_allowed(run, tmp_path):
    folder, *_ = run
    with pytest.raises(InputError, match="allowed: last, best, or a path"):
        find_checkpoint(folder, "step-7")
    for name in ("last", "best"):
        with pytest.raises(InputError, match=r"no checkpoint in .*train first"):
            find_checkpoint(tmp_path, name)


def test_moved_run_folder_is_found_and_resumed(tmp_path):
    trainer = trainer_of()
    checkpoints = Checkpoints(tmp_path / "old", trainer)
    take_steps(trainer, 2)
    checkpoints.save_if_best(0.5)
    checkpoints.save()
    moved = tmp_path / "elsewhere" / "new"
    moved.parent.mkdir()
    (tmp_path / "old").rename(moved)
    for name in ("last", "best"):
        assert find_checkpoint(moved, name).startswith(str(moved))
        segmenter = tiny_segmenter(seed=50)
        assert restore_networks(find_checkpoint(moved, name), segmenter, None) == 2
        assert_equal(values(segmenter), values(trainer.segmenter))
    resumed = trainer_of(seed=50)
    own = Checkpoints(moved, resumed)
    assert own.restore() == 2
    assert_equal(state(resumed), state(trainer))
    for _ in range(3):
        take_steps(resumed, 1)
        own.save()
    assert numbers(moved / "checkpoints") == [3, 4, 5]


def test_networks_trained_in_bfloat16_are_restored_in_float32(tmp_path):
    def trainer(precision):
        built = AdversarialTrainer(
            build_segmenter("small", num_classes=3, precision=precision),
            build_discriminator(3, spectral_norm=True, precision=precision),
            adv(RECIPE),
        )
        built.compile(
            optimizers.segmenter_optimizer(0.01, 9), optimizers.discriminator_optimizer(0.01, 9)
        )
        return built

    trained = trainer("mixed_bfloat16")
    take_steps(trained, 1, size=(MIN_CROP_SIZE, MIN_CROP_SIZE))
    Checkpoints(tmp_path, trained).save()
    segmenter = build_segmenter("small", num_classes=3)
    discriminator = build_discriminator(3, spectral_norm=True)
    assert restore_networks(find_checkpoint(tmp_path, "last"), segmenter, discriminator) == 1
    assert_equal(values(segmenter), values(trained.segmenter))
    assert_equal(values(discriminator), values(trained.discriminator))
    assert segmenter.get_layer("small").compute_dtype == "float32"


def test_checkpoint_of_another_class_count_is_refused(run):
    found = find_checkpoint(run[0], "last")
    with pytest.raises(InputError, match=r"cannot load the checkpoint .*step-2"):
        restore_networks(found, tiny_segmenter(classes=4), None)
    with pytest.raises(InputError, match="cannot load the checkpoint"):
        restore_networks(found, tiny_segmenter(), tiny_discriminator(classes=4))


def test_checkpoint_without_the_discriminator_asked_for_is_refused(tmp_path):
    trainer = trainer_of(recipe=baseline(RECIPE))
    Checkpoints(tmp_path, trainer).save()
    found = find_checkpoint(tmp_path, "last")
    with pytest.raises(InputError, match="cannot load the checkpoint"):
        restore_networks(found, tiny_segmenter(), tiny_discriminator())


def test_checkpoint_that_is_cut_off_is_refused(run, tmp_path):
    for path in (run[0] / "checkpoints").glob("step-2.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match="cannot load the checkpoint"):
        restore_networks(str(tmp_path / "step-2"), tiny_segmenter(), None)


def test_saved_networks_are_those_of_the_step(run):
    _, first, second = run
    assert any(np.any(a != b) for a, b in zip(first, second))
    assert tf.train.latest_checkpoint(str(run[0] / "checkpoints")).endswith("step-2")


def test_damaged_checkpoint_is_not_resumed_from(tmp_path):
    trainer = trainer_of()
    take_steps(trainer, 1)
    Checkpoints(tmp_path, trainer).save()
    data = tmp_path / "checkpoints" / "step-1.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(InputError, match=r"cannot load the checkpoint .*step-1"):
        Checkpoints(tmp_path, trainer_of()).restore()


def test_seconds_add_up_over_a_resume(tmp_path):
    trainer = trainer_of()
    take_steps(trainer, 1)
    Checkpoints(tmp_path, trainer).save(seconds=40.0)
    resumed = trainer_of()
    checkpoints = Checkpoints(tmp_path, resumed)
    checkpoints.restore()
    take_steps(resumed, 1)
    checkpoints.save(seconds=2.5)
    assert float(checkpoints.seconds) == 42.5
