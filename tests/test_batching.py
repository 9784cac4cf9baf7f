"""Batches of one size: nothing lost, nothing held for long, and results in order."""

import numpy as np
import pytest
import tensorflow as tf

from tf_advseg.evaluation import batching
from tf_advseg.evaluation.batching import BatchLimit, InOrder, batches_by_size

A, B, C = (2, 3), (3, 2), (5, 5)


def items(sizes):
    """An image filled with its position, and a label with the position + 100."""
    return [(np.full((*size, 3), n), np.full(size, n + 100)) for n, size in enumerate(sizes)]


def positions(sizes, limit):
    return [batch.positions for batch in batches_by_size(items(sizes), limit)]


def test_batches_are_of_one_size_and_go_when_they_are_full():
    assert positions([A, B, A, C, B, A, A, A], BatchLimit(2)) == [
        (0, 2),
        (1, 4),
        (5, 6),
        (3,),
        (7,),
    ]


def test_batch_of_one_never_waits():
    taken = []
    source = (taken.append(n) or item for n, item in enumerate(items([A, B, A])))
    for count, batch in enumerate(batches_by_size(source, BatchLimit(1)), 1):
        assert batch.positions == (count - 1,)
        assert len(taken) == count


def test_pixels_limit_a_batch_and_a_larger_image_goes_alone():
    limit = BatchLimit(images=4, pixels=15)
    assert limit.images_of(2, 3) == 2
    assert limit.images_of(3, 5) == 1
    assert limit.images_of(5, 5) == 1
    assert limit.images_of(1, 1) == 4
    assert BatchLimit(4).images_of(10_000, 10_000) == 4
    assert positions([C, A, A, A], limit) == [(0,), (1, 2), (3,)]


@pytest.mark.parametrize("images", [1, 2, 5, 100])
def test_each_item_comes_once_with_its_own_parts(images):
    rng = np.random.default_rng(images)
    sizes = [(A, B, C)[n] for n in rng.integers(0, 3, 50)]
    seen = []
    for batch in batches_by_size(items(sizes), BatchLimit(images)):
        stacked, labels = batch.stacked(0).numpy(), batch.stacked(1).numpy()
        assert len(stacked) <= images
        for position, image, label in zip(batch.positions, stacked, labels, strict=True):
            np.testing.assert_array_equal(image, np.full((*sizes[position], 3), position))
            np.testing.assert_array_equal(label, np.full(sizes[position], position + 100))
            seen.append(position)
    assert sorted(seen) == list(range(50))


def test_image_of_a_rare_size_does_not_wait_for_long(monkeypatch):
    monkeypatch.setattr(batching, "_PATIENCE", 3)
    # B waits for three others and goes alone.
    assert positions([B, A, A, A, A, A], BatchLimit(4)) == [(0,), (1, 2, 3, 4), (5,)]


def test_few_images_wait_at_any_time():
    rng = np.random.default_rng(0)
    sizes = [(1, int(width)) for width in rng.integers(1, 40, 1000)]
    come = 0

    def source():
        nonlocal come
        for item in items(sizes):
            come += 1
            yield item

    gone = 0
    for batch in batches_by_size(source(), BatchLimit(8)):
        assert come - gone <= batching._PATIENCE + 1
        if come < len(sizes):
            assert come - 1 - min(batch.positions) <= batching._PATIENCE
        gone += len(batch.positions)


def test_results_are_handed_on_in_order_as_soon_as_they_can():
    seen = []
    results = InOrder(lambda *result: seen.append(result))
    results.add(1, "b", 1)
    assert seen == []
    results.add(0, "a", 0)
    assert seen == [("a", 0), ("b", 1)]
    results.add(3, "d", 3)
    results.add(2, "c", 2)
    assert seen[2:] == [("c", 2), ("d", 3)]


def test_default_is_one_image_on_a_cpu_and_a_full_size_street_scene_on_a_gpu(monkeypatch):
    assert tf.config.list_physical_devices("GPU") or batching.default_limit() == BatchLimit(1)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    limit = batching.default_limit()
    assert limit.images_of(500, 375) == 8
    assert limit.images_of(1024, 2048) == 1
    assert limit.images_of(4096, 4096) == 1
