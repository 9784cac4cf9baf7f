"""A few training steps on one replica or two, in a process of its own.

`python -m tests.replica_steps FOLDER {mirrored,multi_worker} CASE...` writes FOLDER/CASE.npz: the
weights after the steps and the losses. `mirrored` has two logical CPU devices, and takes the steps
on one replica too, into FOLDER/CASE-alone.npz. For `multi_worker` TF_CONFIG says who it is.
"""

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tests.tiny_networks import VOID, random_batch, tiny_discriminator, tiny_segmenter
from tf_advseg import cluster
from tf_advseg.data.positions import Share
from tf_advseg.models.recompute import RecomputingNetwork
from tf_advseg.recipe import COIN_FLIP, Recipe, adv, baseline
from tf_advseg.training import optimizers
from tf_advseg.training import strategy as strategies
from tf_advseg.training.precision import loss_scale
from tf_advseg.training.synchronized import synchronized
from tf_advseg.training.trainer import AdversarialTrainer

STEPS = 4
#: Every term matters, and so do both L2 penalties and the head's rate.
RECIPE = Recipe(
    lambda_adv=0.5,
    lambda_adv_unlabeled=0.3,
    lambda_semi=0.7,
    t_semi=0.15,
    semi_start=0,
    weight_decay=0.01,
    head_learning_rate_scale=10.0,
    discriminator_weight_decay=0.02,
)
BATCH_SIZE = 4
RECIPES = {
    "baseline": baseline(RECIPE),
    "adv": adv(RECIPE),
    "semi": RECIPE,
    "coin": dataclasses.replace(RECIPE, mixing=COIN_FLIP),
    "recompute": RECIPE,
    "overflow": RECIPE,
}


def with_batch_norm(network: keras.Model, after: str) -> keras.Model:
    """Returns the network with batch norm behind one of its layers."""
    place = network.layers.index(network.get_layer(after))
    x = keras.layers.BatchNormalization(momentum=0.5)(network.layers[place].output)
    for layer in network.layers[place + 1 :]:
        x = layer(x)
    return keras.Model(network.input, x)


def recomputing(network: keras.Model) -> keras.Model:
    """Returns the segmenter with all before its head computed again for the gradients."""
    *_, last, head, output = network.layers
    body = RecomputingNetwork(network.input, {"body": last.output}, "body")
    return keras.Model(network.input, output(head(body(network.input)["body"])))


def batches(case: str) -> Iterator[dict]:
    """Yields four images of each kind for each step; the first two are void but for a corner."""
    for step in range(STEPS):
        first, second = random_batch(2 * step), random_batch(2 * step + 1)
        batch = tf.nest.map_structure(lambda *parts: np.concatenate(parts), first, second)
        assert len(batch["labeled"][1]) == BATCH_SIZE
        batch["labeled"][1][:2, 2:] = VOID
        batch["unlabeled"][1][:2, :, 1:] = False
        if case == "overflow" and step == 1:
            batch["labeled"][0][3] = np.inf  # The second replica's.
        yield batch


def pieces(case: str, share: Share) -> tf.data.Dataset:
    """Returns a share of each batch, as `pipeline.training_dataset` does."""
    cut = []
    for batch in batches(case):
        own = tf.nest.map_structure(lambda x: np.split(x, share.of)[share.index], batch)
        cut += [
            tf.nest.map_structure(lambda x, i=i: np.split(x, share.pieces)[i], own)
            for i in range(share.pieces)
        ]
    stacked = tf.nest.map_structure(lambda *parts: np.stack(parts), *cut)
    return tf.data.Dataset.from_tensor_slices(stacked)


def take_steps(case: str, strategy: tf.distribute.Strategy) -> dict[str, np.ndarray]:
    """Returns weights and losses after the steps."""
    precision = "mixed_float16" if case == "overflow" else "float32"
    with strategy.scope():
        networks = [tiny_segmenter(precision=precision), tiny_discriminator(precision=precision)]
        if case != "overflow":  # An infinite value would reach all through its statistics.
            networks = [with_batch_norm(n, a) for n, a in zip(networks, ("body", "conv1"))]
        if case == "recompute":
            networks[0] = recomputing(networks[0])
        if strategy.num_replicas_in_sync > 1:
            networks = [synchronized(network) for network in networks]
        trainer = AdversarialTrainer(*networks, RECIPES[case], seed=1)
        trainer.compile(
            optimizers.segmenter_optimizer(0.05, 9, precision=precision),
            optimizers.discriminator_optimizer(0.01, 9, step=trainer.step, precision=precision),
            steps_per_execution=2,
        )
    data = strategies.batches_for(strategy, lambda share: pieces(case, share))
    logs = trainer.fit(data, steps_per_epoch=STEPS, verbose=0).history
    found = {name: np.array(values[-1]) for name, values in logs.items()}
    found["step"] = trainer.step.numpy()
    for network in networks:
        for index, weight in enumerate(network.weights):
            found[f"{network.name}/{index}/{weight.name}"] = weight.read_value().numpy()
    for optimizer in (trainer.optimizer, trainer.discriminator_optimizer):
        found[f"iterations of {type(optimizer).__name__}"] = optimizer.iterations.numpy()
        if (scale := loss_scale(optimizer)) is not None:
            found["loss_scale"] = scale.numpy()
    # Names differ where one process makes networks twice; the order does not.
    return {f"{i:03} {k.split('/')[-1]}": v for i, (k, v) in enumerate(found.items())}


def main() -> None:
    folder, name, *cases = sys.argv[1:]
    if name == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    workers = cluster.of_run(name, os.environ)
    # One for all cases: two strategies of a process mix up their collectives.
    # Before any operation, as making a batch would be: workers must be known by then.
    strategy = strategies.choose(name, workers, BATCH_SIZE)
    for case in cases:
        if name == "mirrored":
            alone = take_steps(case, tf.distribute.get_strategy())
            np.savez(Path(folder) / f"{case}-alone.npz", **alone)
        found = take_steps(case, strategy)
        np.savez(Path(folder) / f"{case}-{workers.index}.npz", **found)


if __name__ == "__main__":
    main()
