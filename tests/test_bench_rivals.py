"""The benchmark's rivals: that they do our work, and that PyTorch's is the reference's."""

import random

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks import cases
from benchmarks.contenders import pillow_crops
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


@pytest.mark.parametrize(
    ("scale", "top", "left", "mirrored", "levels"),
    [
        (1.0, 4, 7, False, 2),
        (1.37, 11, 3, True, 2),
        (0.8, 6, 10, True, 2),
        (0.5, 0, 0, True, 2),
        # Pillow's last pixel ends with the image, ours where it may: half a pixel apart.
        (0.61, 0, 2, False, 40),
    ],
)
def test_the_rivals_crops_are_ours(scale, top, left, mirrored, levels):
    random_image = np.random.default_rng(0).integers(0, 256, (12, 16, 3))
    # Pillow works in whole numbers: a smooth image keeps the difference to a level or two.
    image = np.asarray(
        Image.fromarray(random_image.astype(np.uint8)).resize((80, 60), Image.Resampling.BICUBIC)
    )
    label = np.random.default_rng(1).integers(0, 9, image.shape[:2]).astype(np.uint8)
    size, color = (37, 45), (10.0, 20.0, 30.0)
    crop = pillow_crops.Crop(image.shape[:2], scale, top, left, mirrored)
    geometry = augment.Geometry(
        tf.constant([scale, scale]),
        tf.constant([top, left], tf.float32),
        tf.constant(mirrored),
    )
    own = augment.crop_image(tf.constant(image), geometry, size, color).numpy()
    other = pillow_crops.crop_image(Image.fromarray(image), crop, size, color)
    assert other.dtype == np.uint8
    assert np.abs(own - other).max() < levels
    labels = pillow_crops.crop_label(Image.fromarray(label), crop, size)
    own_labels = augment.crop_label(tf.constant(label), geometry, size).numpy()
    assert (labels != own_labels).mean() < (0.002 if levels == 2 else 0.4)
    valid = pillow_crops.crop_valid(crop, size)
    own_valid = augment.crop_valid(tf.constant(image.shape[:2]), geometry, size).numpy()
    assert (valid == own_valid).all()


def test_the_rivals_crops_lie_inside_of_the_image_where_it_is_large_enough():
    generator = random.Random(0)
    for _ in range(200):
        crop = pillow_crops.draw(generator, (50, 60), (30, 30), (0.5, 1.5))
        assert 0.5 <= crop.scale <= 1.5
        assert crop.top <= max(0, round(50 * crop.scale) - 30)
        assert crop.left <= max(0, round(60 * crop.scale) - 30)


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
