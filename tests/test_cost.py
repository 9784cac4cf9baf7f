"""The calculated cost of a step, against sums over the networks as the papers describe them."""

import keras
import pytest
import tensorflow as tf

from benchmarks import cost, network_cost, step_cost
from benchmarks.network_cost import NetworkCost
from benchmarks.step_cost import Gpu, Step
from tf_advseg import config
from tf_advseg.models.recompute import RecomputingNetwork
from tf_advseg.training import run

#: Blocks, channels and grid at 321x321 of the stages of ResNet-101 at stride 8.
STAGES = ((3, 64, 81), (4, 128, 41), (23, 256, 41), (3, 512, 41))


def test_one_convolution_by_hand():
    image = keras.Input((None, None, 3))
    network = keras.Model(image, keras.layers.Conv2D(8, 5, 2, padding="same")(image))
    found = network_cost.network_cost(network, (10, 7, 3))
    # 5x4 places, 8 channels, and for each value 25 taps of 3 channels.
    assert found.operations == found.first == 2 * (5 * 4 * 8) * (25 * 3)
    assert found.kept == 10 * 7 * 3
    assert found.moved == 0
    assert found.weights == 25 * 3 * 8 + 8


def test_what_gradients_need_is_kept_once():
    inner = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(4, 1)(inner)
    normed = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(normed)
    x = keras.layers.Conv2D(4, 1)(x)
    x = keras.layers.Add()([x, normed])
    x = keras.layers.ReLU()(x)
    backbone = RecomputingNetwork(inner, {"stage": x}, "backbone")
    image = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(5, 1, name="head_conv")(backbone(image)["stage"])
    found = network_cost.network_cost(keras.Model(image, x), (3, 3, 2))
    # The image, the norm's input, the inner ReLU, the outer one. No sum, and not the norm's output.
    assert found.kept == 9 * (2 + 4 + 4 + 4)
    # Recomputed in two parts: up to the norm, where the shortcut begins, and from there.
    assert found.kept_outputs == 9 * (4 + 4)
    assert found.largest_segment == 9 * (4 + 4)
    assert found.recomputed == 2 * 9 * (2 * 4 + 4 * 4)
    assert found.operations == found.recomputed + 2 * 9 * 4 * 5
    # Norm, ReLU and ReLU read and write one map each, and the sum reads two.
    assert found.moved == 9 * 4 * (2 + 2 + 3 + 2)


@pytest.mark.slow
def test_resnet101_is_the_sum_over_its_blocks():
    operations = first = 2 * 49 * 3 * 64 * 161**2
    # The padded image; both maps of conv1; the pool's padded input, and its output.
    kept = 3 * 327**2 + 2 * 64 * 161**2 + 64 * 164**2 + 64 * 81**2
    channels = 64
    for blocks, width, grid in STAGES:
        for block in range(blocks):
            shortcut = 0 if block else channels * 4 * width
            weights = channels * width + 9 * width**2 + width * 4 * width + shortcut
            operations += 2 * grid**2 * weights
            # Each convolution's output, before and after its ReLU; of the shortcut's only before.
            kept += grid**2 * (width * 2 + width * 2 + 4 * width * (2 if block else 3))
            channels = 4 * width
    operations += 2 * 41**2 * 4 * 9 * 2048 * 21
    found = network_cost.segmenter_cost("resnet101", (321, 321), 21, 8)
    assert (found.operations, found.first) == (operations, first)
    assert found.operations == pytest.approx(150e9, rel=0.01)
    assert found.kept == kept
    # Of 34 parts that a shortcut begins or an output ends, each sixth, and the four outputs.
    kept_blocks = {256 * 81**2: 1, 512 * 41**2: 1, 1024 * 41**2: 4, 2048 * 41**2: 1}
    assert found.kept_outputs == sum(size * count for size, count in kept_blocks.items())
    assert found.largest_map == 2048 * 41**2
    # Convolutions, the norms' four values a channel, and a head of four branches.
    assert found.weights == pytest.approx(44.2e6, rel=0.01)


@pytest.mark.parametrize(
    ("size", "classes", "grids"),
    [
        ((321, 321), 21, [(160, 160), (80, 80), (40, 40), (20, 20), (10, 10)]),
        ((512, 1024), 19, [(256, 512), (128, 256), (64, 128), (32, 64), (16, 32)]),
    ],
)
def test_discriminator_is_five_convolutions(size, classes, grids):
    channels = (classes, 64, 128, 256, 512, 1)
    layers = zip(channels[:-1], channels[1:], grids, strict=True)
    operations = [2 * 16 * a * b * rows * columns for a, b, (rows, columns) in layers]
    found = network_cost.discriminator_cost(size, classes)
    assert (found.operations, found.first) == (sum(operations), operations[0])


@pytest.fixture
def round_numbers(monkeypatch):
    """Networks whose costs are round numbers."""
    segmenter = NetworkCost(1000, 10, 900, 50, 400, 100, 30, 20, 7)
    judge = NetworkCost(100, 1, 0, 9, 40, 40, 0, 4, 3)
    monkeypatch.setattr(step_cost, "segmenter_cost", lambda *given: segmenter)
    monkeypatch.setattr(step_cost, "discriminator_cost", lambda *given: judge)


@pytest.mark.parametrize(
    ("method", "operations"),
    [
        ("baseline", 2 * (3 * 1000 - 10)),
        # Of each image a prediction and a truth: 4 F - F1 and 3 F - F1.
        ("adv", 2 * (3 * 1000 - 10) + 2 * ((400 - 1) + (300 - 1))),
        ("semi", 4 * (3 * 1000 - 10) + 2 * ((400 - 1) + (300 - 1) + 200)),
    ],
)
def test_operations_of_a_step(round_numbers, method, operations):
    step = Step(method, batch_size=2)
    assert step_cost.operations(step) == operations
    again = Step(method, batch_size=2, recompute=True)
    assert step_cost.operations(again) == operations + step.images * 900


def test_memory_of_a_step(round_numbers):
    full_size = 3 * 4 * 6 * 5
    step = Step("baseline", (2, 3), 5, batch_size=2)
    values = 2 * (400 + 3 * 20)
    assert step_cost.memory(step) == values * 2 + 2 * full_size + 3 * 4 * 7
    in_float32 = Step("baseline", (2, 3), 5, batch_size=2, mixed=False)
    assert step_cost.memory(in_float32) == values * 4 + 2 * full_size + 3 * 4 * 7
    semi = Step("semi", (2, 3), 5, batch_size=2, recompute=True)
    values = 4 * (100 + 30 + 3 * 20) + 2 * 3 * 40
    weights = 4 * (3 * 7 + 4 * 3)
    assert step_cost.memory(semi) == values * 2 + 4 * full_size + weights


def test_time_of_a_step_is_computing_and_moving(round_numbers, monkeypatch):
    monkeypatch.setattr(step_cost, "CONVOLUTION_RATE", 0.5)
    monkeypatch.setattr(step_cost, "BANDWIDTH_RATE", 0.25)
    gpu = Gpu("one", mixed=2, float32=1, bandwidth=4, memory=1, source="")
    mixed, plain = (Step("baseline", batch_size=1, mixed=mixed) for mixed in (True, False))
    moved = 3 * 50
    assert step_cost.seconds(mixed, gpu) == pytest.approx(1e-12 * (2990 / 1 + 2 * moved / 1))
    assert step_cost.seconds(plain, gpu) == pytest.approx(1e-12 * (2990 / 0.5 + 4 * moved / 1))
    again = Step("baseline", batch_size=1, recompute=True)
    assert step_cost.seconds(again, gpu) == pytest.approx(1e-12 * (3890 / 1 + 2 * 4 * 50 / 1))
    assert step_cost.prediction_seconds(mixed, gpu) == pytest.approx(1e-12 * (1100 + 2 * 50))


def test_step_that_does_not_fit_is_marked(round_numbers):
    step = Step("baseline", batch_size=2)
    roomy, small, tiny = (
        Gpu("", 1e-9, 1e-9, 1.0, (1.5e9 + room) / 1e9, "")
        for room in (
            step_cost.memory(step),
            step_cost.memory(step) - 1,
            step_cost.memory(Step("baseline", batch_size=2, recompute=True)) - 1,
        )
    )
    assert cost.time_cell(step, roomy) == f"{1e3 * 5980 / 400:.0f}"
    assert cost.time_cell(step, small) == f"{1e3 * (5980 + 1800) / 400:.0f} R"
    assert cost.time_cell(step, tiny) == "no room"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["baseline", "adv", "semi"])
def test_operations_are_those_of_the_graph_of_a_step(method):
    step = Step(method, (97, 65), 5, batch_size=2, backbone="small", mixed=False)
    settings = {"preset": "paper", "dataset": "voc2012", "data_dir": "unused", "weights": "none"}
    settings |= {"backbone": "small", "method": method, "batch_size": 2, "precision": "float32"}
    trainer = run.build_trainer(config.resolve(settings), 5)
    images = tf.TensorSpec((2, *step.size, 3), tf.float32)
    labels, valid = (tf.TensorSpec((2, *step.size), dtype) for dtype in (tf.int32, tf.bool))
    batch = {"labeled": (images, labels), "unlabeled": (images, valid)}
    traced = tf.function(trainer.train_step).get_concrete_function(batch)
    # The head's convolutions are matrix products in the graph.
    layers = network_cost.layer_costs(trainer.segmenter, (*step.size, 3))
    head = sum(layer.operations for layer in layers if layer.name.startswith("head_"))
    expected = step_cost.operations(step) - 3 * step.images * head
    assert sum(_operations(op) for op in _needed(traced.graph)) == expected


def _needed(graph):
    """Returns the operations that a graph's outputs and side effects need."""
    seen = set()
    left = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    while left:
        op = left.pop()
        if op not in seen:
            seen.add(op)
            left += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return seen


def _operations(op):
    """Returns 2 for each multiplication of a convolution, or of one of its gradients."""
    if op.type == "Conv2D":
        kernel, places = op.inputs[1].shape, op.outputs[0].shape
    elif op.type == "Conv2DBackpropInput":
        kernel, places = op.inputs[1].shape, op.inputs[2].shape
    elif op.type == "Conv2DBackpropFilter":
        kernel, places = op.outputs[0].shape, op.inputs[2].shape
    else:
        return 0
    return 2 * kernel.num_elements() * places[:3].num_elements()
