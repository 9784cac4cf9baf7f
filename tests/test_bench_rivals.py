"""The benchmark's rivals: that they do our work, and that PyTorch's is the reference's."""

import random

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import cases
from tf_advseg.data import augment

CASE = {
    "backbone": "small",
    "method": "semi",
    "precision": "float32",
    "batch_norm": "frozen",
    "num_classes": 5,
    "size": [33, 49],
    "batch": 2,
}


@pytest.mark.parametrize("resize", ["torch", "Pillow"])
@pytest.mark.parametrize(
    ("corner", "window", "size", "mirrored"),
    [
        ((4, 7), (37, 45), (37, 45), False),
        ((20, 3), (27, 33), (37, 45), True),
        # Smaller than the crop.
        ((0, 10), (60, 50), (30, 45), True),
        ((0, 0), (60, 80), (37, 40), False),
    ],
)
def test_the_rivals_crops_are_ours(corner, window, size, mirrored, resize):
    pytest.importorskip("torch")
    from benchmarks.contenders import torch_crops

    random_image = np.random.default_rng(0).integers(0, 256, (12, 16, 3))
    # Theirs are whole numbers. Pillow's kernel reaches out of the window, and is wider where it
    # shrinks; a smooth image keeps the difference small.
    image = np.asarray(
        Image.fromarray(random_image.astype(np.uint8)).resize((80, 60), Image.Resampling.BICUBIC)
    )
    label = np.random.default_rng(1).integers(0, 9, image.shape[:2]).astype(np.uint8)
    crop_size, color = (37, 45), (10.0, 20.0, 30.0)
    crop = torch_crops.Crop(corner, window, size, mirrored)
    geometry = augment.Geometry(*map(tf.constant, (corner, window, size, mirrored)))
    own = augment.crop_image(tf.constant(image), geometry, crop_size, color).numpy()
    other = torch_crops.crop_image(Image.fromarray(image), crop, crop_size, color, resize)
    assert other.dtype == np.uint8
    far = np.abs(own - other)
    if resize == "torch":
        assert far.max() < 1.01
    assert far.mean() < 3
    labels = torch_crops.crop_label(Image.fromarray(label), crop, crop_size)
    own_labels = augment.crop_label(tf.constant(label), geometry, crop_size).numpy()
    assert (labels != own_labels).mean() < 0.04  # Ties, between two pixels.
    valid = torch_crops.crop_valid(crop, crop_size)
    np.testing.assert_array_equal(valid, augment.crop_valid(geometry, crop_size).numpy())


def test_the_rival_draws_windows_as_ours_are():
    pytest.importorskip("torch")
    from benchmarks.contenders import torch_crops

    generator = random.Random(0)
    for _ in range(200):
        crop = torch_crops.draw(generator, (50, 60), (30, 30), (0.5, 1.5))
        for axis, side in enumerate((50, 60)):
            assert 0 <= crop.corner[axis] <= side - crop.window[axis]
            scale = crop.size[axis] / crop.window[axis]
            assert 0.48 <= scale <= 1.55  # Rounded to whole pixels.
            assert crop.size[axis] == 30 or crop.window[axis] == side


@pytest.mark.parametrize(
    ("size", "batch_norm"),
    [([33, 49], "frozen"), ([64, 40], "frozen_affine"), ([40, 33], "train")],
)
def test_the_small_network_in_pytorch_equals_ours(size, batch_norm):
    torch = pytest.importorskip("torch")
    from benchmarks.contenders import ours, torch_tasks

    case = {**CASE, "size": size, "batch_norm": batch_norm}
    images = cases.batch(case)["labeled_images"]
    torch.set_num_threads(1)
    twin, _ = torch_tasks._networks(case)
    segmenter, _ = ours.networks(case)
    with torch.no_grad():
        other = twin(torch.from_numpy(images)).permute(0, 2, 3, 1).numpy()
    own = segmenter(images, training=True).numpy()
    np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("baseline", {}),
        ("adv", {"optimizer": "loop"}),
        ("semi", {}),
        ("semi", {"layout": "contiguous", "fold": False, "optimizer": "foreach"}),
    ],
)
def test_the_rivals_steps_are_the_references(method, options):
    pytest.importorskip("torch")
    check_steps({**CASE, "method": method}, options)


@pytest.mark.slow
def test_the_rivals_steps_are_the_references_with_a_resnet():
    pytest.importorskip("torch")
    check_steps({**CASE, "backbone": "resnet50"}, {})


def check_steps(case, options):
    """Asserts that the first step's losses are the reference's to 1e-4, and two more's to 1e-3."""
    import torch

    torch.set_num_threads(1)
    from benchmarks import torch_reference
    from benchmarks.contenders import torch_fast, torch_tasks

    # Large enough that the discriminator's map is more than one value, which mostly cancels.
    case = {**case, "size": [65, 97], "batch": 1}
    chosen = torch_tasks._reference_options(case)
    reference = torch_reference.Trainer(*torch_tasks._networks(case), chosen)
    fast = torch_fast.FastTrainer(*torch_tasks._networks(case), chosen, **options)
    arrays = cases.batch(case)
    batch = {name: torch.from_numpy(value) for name, value in arrays.items()}
    batch["labels"] = batch["labels"].long()
    for tolerance in (1e-4, 1e-3, 1e-3):
        # A discriminator that is sure leaves a loss of 1e-9, most of which is rounding.
        expected = pytest.approx(reference.step(arrays), rel=tolerance, abs=1e-6)
        assert fast.step(batch) == expected
