"""The networks and the step against the PyTorch reference in benchmarks/torch_reference.py.

Once against the golden numbers that it wrote, which need no PyTorch, and once against itself. Both
sides have the same weights and batches; the learning rate is constant; all is float32.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from reference_networks import as_torch, case_segmenter, named, shape_in_torch

from benchmarks import reference_case
from benchmarks.reference_case import CASES, relative_error, sketch_distance
from tf_advseg import registry
from tf_advseg.models.discriminator import build_discriminator
from tf_advseg.recipe import Recipe, adv, baseline, semi
from tf_advseg.training import optimizers
from tf_advseg.training.objective import CONFIDENCES
from tf_advseg.training.trainer import AdversarialTrainer

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-4
UPDATE_TOLERANCE = 1e-3
#: Of ResNet-101, but for its logits. In a network this deep, rounding moves a unit over ReLU's
#: kink: PyTorch's own updates on one thread and on two differ by 1.2e-3 in these cases, and by up
#: to 2.8e-3, its gradients by up to 7e-3, with other seeds and shifts.
DEEP_TOLERANCE = 5e-3
METHODS = {"baseline": baseline, "adv": adv, "semi": semi}
#: What the reference's options leave unsaid, by its own defaults.
DEFAULTS = {
    "weight_decay": 5e-4,
    "head_learning_rate_scale": 10.0,
    "semi_start": 0,
}
SGD_DECAY = 1e-4  # Of the discriminator, in the reference.


@pytest.fixture(autouse=True)
def _register(monkeypatch):
    monkeypatch.setitem(registry.BACKBONES, "shallow_resnet", "reference_networks:shallow_resnet")


def build(case):
    """The trainer of a case, with its initial weights."""
    segmenter = case_segmenter(case)
    discriminator = build_discriminator(case["num_classes"], **case["discriminator"])
    fill_discriminator(case, discriminator)
    options = {**DEFAULTS, **case["options"]}
    nesterov = options.pop("nesterov", True)
    name = options.pop("discriminator_optimizer", "adam")
    decay = SGD_DECAY if name == "sgd" else 0.0
    recipe = METHODS[case["method"]](Recipe(**options, discriminator_weight_decay=decay))
    trainer = AdversarialTrainer(segmenter, discriminator, recipe)
    trainer.compile(
        optimizers.segmenter_optimizer(2.5e-4, 9, nesterov=nesterov, power=0.0),
        optimizers.discriminator_optimizer(1e-4, 9, name=name, power=0.0),
    )
    return trainer


def fill_discriminator(case, discriminator):
    variables = {discriminator_name(v): v for v in discriminator.weights}
    shapes = {name: shape_in_torch(v) for name, v in variables.items()}
    for name, value in reference_case.fill_case(case, "discriminator", shapes).items():
        variables[name].assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)


def discriminator_name(variable):
    layer, kind = variable.name.removesuffix(":0").split("/")
    return f"{layer}.{'weight' if kind == 'kernel' else kind}"


def batch_of(case, step):
    """The step's input, as the pipeline has it."""
    batch = {
        name: tf.constant(value) for name, value in reference_case.case_batch(case, step).items()
    }
    return {
        "labeled": (batch["labeled_images"], batch["labels"]),
        "unlabeled": (batch["unlabeled_images"], batch["valid"]),
    }


def state(case, trainer):
    """{network: {name: array}} of all weights, by the reference's names."""
    found = {
        "segmenter": {n: as_torch(v).copy() for n, v in named(trainer.segmenter, case).items()}
    }
    if trainer.discriminator is not None:
        found["discriminator"] = {
            discriminator_name(v): as_torch(v).copy() for v in trainer.discriminator.weights
        }
    return found


def measure(case, summarize):
    """Our numbers of a case, as `torch_reference.run` has the reference's."""
    trainer = build(case)
    before = state(case, trainer)
    batch = trainer._batch(batch_of(case, 0))
    start = trainer.segmenter.get_weights()
    logits = trainer._objective.segment(batch)
    outputs = {"segmenter": logits.labeled.numpy()}
    if trainer.discriminator is not None:
        judged = trainer._objective.judge(logits, batch, trainer.step)
        outputs["discriminator"] = discriminator_outputs(trainer.discriminator, logits, judged)
    trainer.segmenter.set_weights(start)  # Running statistics moved.
    _, of_segmenter, of_discriminator = trainer.gradients(batch)
    gradients = {"segmenter": by_name(case, trainer.segmenter, of_segmenter)}
    if of_discriminator is not None:
        variables = trainer.discriminator.trainable_variables
        gradients["discriminator"] = {
            discriminator_name(v): as_torch(g) for v, g in zip(variables, of_discriminator)
        }
    trainer.segmenter.set_weights(start)
    losses = []
    for step in range(reference_case.STEPS):
        trainer.reset_metrics()
        logs = trainer.train_step(batch_of(case, step))
        # The reference has the losses alone.
        losses.append({n: float(value) for n, value in logs.items() if n not in CONFIDENCES})
    return reference_case.entries(
        outputs, gradients, losses, before, state(case, trainer), summarize
    )


def discriminator_outputs(discriminator, logits, judged):
    """The discriminator's own outputs: two of them are one difference to the losses."""
    if discriminator.get_layer("conv5").filters == 1:
        return judged.labeled.numpy()
    inner = discriminator.get_layer("resize").output
    two = tf.keras.Model(discriminator.input, inner)
    return two(tf.nn.softmax(logits.labeled)).numpy()


def by_name(case, segmenter, gradients):
    names = {v.ref(): name for name, v in named(segmenter, case).items()}
    variables = segmenter.trainable_variables
    return {names[v.ref()]: as_torch(g) for v, g in zip(variables, gradients, strict=True)}


def assert_agree(own, reference, distance, norm, tolerance=TOLERANCE):
    """Asserts that every tensor agrees to the tolerance, as a relative L2 error.

    Logits always to TOLERANCE. The change of a weight over three steps may differ by
    UPDATE_TOLERANCE: a weight is stored to 24 bits, and its change is far smaller. The gradient of
    a norm's shift cancels where another norm with batch statistics follows; its error is compared
    with the gradient of the scale beside it.
    """
    assert set(own) == set(reference)
    far = {}
    for key, value in reference.items():
        compare = relative_error if key.startswith("loss/") else distance
        allowed = TOLERANCE if key.startswith("logits/") else tolerance
        if key.startswith("update/"):
            rounding = 1e-7 * norm(reference[key.replace("update", "weight")]) / norm(value)
            allowed = max(tolerance, UPDATE_TOLERANCE) + rounding
        if key.startswith("gradient/") and is_shift(key):
            allowed *= max(1.0, norm(reference[key.replace(".bias", ".weight")]) / norm(value))
        if not (error := compare(own[key], value)) <= allowed:
            far[key] = f"{error:.1e} > {allowed:.1e}"
    assert far == {}


def is_shift(key):
    layer, _, kind = key.rpartition(".")
    return kind == "bias" and ("bn" in layer or "downsample.1" in layer)


def sketched_norm(sketch):
    return sketch[0]


#: One geometry is enough here: aligned corners are those of the authors' recipe, and `semi` has all
#: terms of `adv` and `baseline`. The logits at an even size are in test_initial_weights.py.
LONG = (
    *("baseline-halfpixel", "baseline-aligned", "baseline-even"),
    *("adv-aligned", "adv-halfpixel", "semi-aligned"),
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in CASES]
)
def test_networks_losses_gradients_and_three_steps_equal_the_golden_numbers(name):
    own = measure(CASES[name], reference_case.sketch)
    assert_agree(own, reference_case.load(GOLDEN / f"{name}.npz"), sketch_distance, sketched_norm)


@pytest.mark.parametrize(
    "name",
    [
        "semi-challenge",
        pytest.param("semi-authors", marks=pytest.mark.slow),
        pytest.param("semi-aligned", marks=pytest.mark.slow),
        pytest.param("semi-halfpixel", marks=pytest.mark.slow),
    ],
)
def test_networks_losses_gradients_and_three_steps_equal_pytorch(name):
    pytest.importorskip("torch")
    from benchmarks import torch_reference

    reference = torch_reference.run(CASES[name], summarize=np.array)
    assert_agree(measure(CASES[name], np.array), reference, relative_error, np.linalg.norm)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shift", "seed", "t_semi"),
    # The threshold is in a wide gap of the confidences of all three steps.
    [("semi-aligned", 4.0, 1, 0.587179), ("semi-halfpixel", 5.0, 0, 0.359001)],
)
def test_resnet101_equals_pytorch(name, shift, seed, t_semi):
    pytest.importorskip("torch")
    from benchmarks import torch_reference

    case = CASES[name] | {"seed": seed, "norm": CASES[name]["norm"] | {"norm_shift": shift}}
    case["segmenter"] = case["segmenter"] | {"blocks": (3, 4, 23, 3)}
    case["options"] = case["options"] | {"t_semi": t_semi}
    reference = torch_reference.run(case, summarize=np.array)
    own = measure(case, np.array)
    assert_agree(own, reference, relative_error, np.linalg.norm, DEEP_TOLERANCE)
