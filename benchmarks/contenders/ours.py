"""What our contenders do, each in a process of its own."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import cases
from benchmarks.workers import Task
from tf_advseg import registry
from tf_advseg.models import torch_weights
from tf_advseg.models.discriminator import build_discriminator
from tf_advseg.models.segmenter import build_segmenter
from tf_advseg.recipe import Recipe
from tf_advseg.training import optimizers
from tf_advseg.training.objective import CONFIDENCES
from tf_advseg.training.trainer import AdversarialTrainer

Options = Mapping[str, Any]

_DILATIONS = (6, 12, 18, 24)
_STEPS = 20000  # Of the schedule; rates do not change what a step costs.
_SMALL_LAYER = re.compile(r"stage(\d)_block(\d)_(\d)_(conv|bn)")


def step(options: Options) -> Task:
    """A training step as `fit` runs it, data in memory; `options` is a case."""
    trainer, batch = compiled(options)
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    train = trainer.make_train_function()

    def run() -> dict[str, float]:
        logs = {name: float(value) for name, value in train(batches).items()}
        # The reference has the losses alone.
        return {name: value for name, value in logs.items() if name not in CONFIDENCES}

    return Task(run, {"losses": run()})


def compiled(options: Options) -> tuple[AdversarialTrainer, dict[str, tuple]]:
    """Returns a case's trainer, with its optimizers, and the batch of each of its steps."""
    precision = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[options["precision"]]
    segmenter, discriminator = networks(options, precision)
    recipe = registry.load(registry.METHODS, options["method"])(
        Recipe(semi_start=0, t_semi=cases.T_SEMI, weight_decay=cases.WEIGHT_DECAY)
    )
    trainer = AdversarialTrainer(segmenter, discriminator, recipe)
    trainer.compile(
        optimizers.segmenter_optimizer(cases.LEARNING_RATE, _STEPS, precision=precision),
        optimizers.discriminator_optimizer(
            cases.DISCRIMINATOR_LEARNING_RATE, _STEPS, precision=precision
        ),
    )
    arrays = cases.batch(options)
    batch = {"labeled": (arrays["labeled_images"], arrays["labels"])}
    if recipe.uses_unlabeled:
        batch["unlabeled"] = (arrays["unlabeled_images"], arrays["valid"])
    return trainer, batch


def networks(case: cases.Case, precision: str = "float32") -> tuple[keras.Model, keras.Model]:
    """Returns our segmenter and discriminator with the case's weights."""
    segmenter = build_segmenter(
        case["backbone"],
        num_classes=case["num_classes"],
        batch_norm=case["batch_norm"],
        backbone_style="deeplab" if cases.is_resnet(case) else "keras",
        normalization=cases.normalization(case),
        head_dilations=_DILATIONS,
        recompute=case.get("recompute", False),
        precision=precision,
    )
    # The paper's padding, which PyTorch has without an extra copy.
    discriminator = build_discriminator(case["num_classes"], padding="one", precision=precision)
    _fill_segmenter(case, segmenter)
    _fill(case, "discriminator", {_name(v, _own_layer): v for v in discriminator.weights})
    return segmenter, discriminator


def _fill_segmenter(case: cases.Case, segmenter: keras.Model) -> None:
    backbone = segmenter.get_layer(case["backbone"]).weights
    head = {}
    for index, dilation in enumerate(_DILATIONS):
        layer = segmenter.get_layer(f"head_dilation{dilation}")
        head[f"layer5.conv2d_list.{index}.weight"] = layer.kernel
        head[f"layer5.conv2d_list.{index}.bias"] = layer.bias
    if not cases.is_resnet(case):
        _fill(case, "segmenter", {_name(v, _small_layer): v for v in backbone} | head)
        return
    variables = {torch_weights.torch_name(v.name): v for v in backbone} | head
    shapes = {name: _torch_shape(variable) for name, variable in variables.items()}
    state = cases.weights(case, "segmenter", shapes)
    left = torch_weights.load_state(segmenter, case["backbone"], _DILATIONS, state)
    assert not left, left


def _fill(case: cases.Case, network: str, variables: Mapping[str, tf.Variable]) -> None:
    shapes = {name: _torch_shape(variable) for name, variable in variables.items()}
    for name, value in cases.weights(case, network, shapes).items():
        variables[name].assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)


def _torch_shape(variable: tf.Variable) -> tuple[int, ...]:
    shape = tuple(variable.shape)
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape


def _name(variable: tf.Variable, layer_name) -> str:
    """Returns what a variable of ours is called in PyTorch."""
    layer, kind = variable.name.removesuffix(":0").split("/")[-2:]
    kinds = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
    kinds |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    return f"{layer_name(layer)}.{kinds.get(kind, kind)}"


def _own_layer(layer: str) -> str:
    return layer


def _small_layer(layer: str) -> str:
    """Returns what `torch_small` calls a layer of the backbone `small`."""
    if layer in ("stem_conv", "stem_bn"):
        return layer.removeprefix("stem_") + "1"
    stage, block, index, part = _SMALL_LAYER.fullmatch(layer).groups()
    inner = f"{part}{index}" if index != "0" else f"downsample.{0 if part == 'conv' else 1}"
    return f"layer{int(stage) - 1}.{int(block) - 1}.{inner}"


def export(options: Options) -> Task:
    """Writes a case's networks to the folder "saved_model"; there is nothing to repeat.

    And the same computation without resizing, which at this scale does nothing, to "plain_model":
    not every reader of SavedModels knows the operation.
    """
    from tf_advseg.data.classes import VOC2012
    from tf_advseg.serving.module import ServingModule

    segmenter, discriminator = networks(options)
    module = ServingModule(segmenter, discriminator, VOC2012, 1.0, {})
    tf.saved_model.save(module, options["saved_model"], signatures=module.signatures())

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")])
    def predict(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(segmenter(tf.cast(image, tf.float32), training=False))
        return {
            "class_ids": tf.argmax(probabilities, -1, tf.int32),
            "probabilities": probabilities,
            "confidence": tf.sigmoid(discriminator(probabilities, training=False)[..., 0]),
        }

    plain = tf.Module()
    plain.segmenter, plain.discriminator, plain.predict = segmenter, discriminator, predict
    tf.saved_model.save(plain, options["plain_model"], signatures=predict)
    return Task(lambda: None)


def inference(options: Options) -> Task:
    """Serves images of "size" from the folder "saved_model"; writes "probabilities" to a file."""
    model = tf.saved_model.load(options["saved_model"])
    image = tf.constant(cases.image(options["size"]))

    def run() -> dict[str, np.ndarray]:
        # By the model: its signatures alone do not keep its variables.
        served = model.signatures["serving_default"](image=image)
        return {name: value.numpy() for name, value in served.items()}

    np.save(options["probabilities"], run()["probabilities"])
    return Task(run)


def matmul(options: Options) -> Task:
    """A product of square matrices, of "side" in "precision"."""
    side = options["side"]
    a, b = tf.unstack(tf.cast(tf.random.normal((2, side, side)), options["precision"]))
    product = tf.function(tf.matmul)
    threading = tf.config.threading
    threads = {
        # 0: as many as there are cores.
        "intra_op": threading.get_intra_op_parallelism_threads(),
        "inter_op": threading.get_inter_op_parallelism_threads(),
    }
    return Task(lambda: product(a, b), {"threads": threads})
