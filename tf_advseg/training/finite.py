"""Numbers that are none: which values of a run are not finite, and what to do about it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tf_advseg.errors import InputError
from tf_advseg.saved_run import find_checkpoint
from tf_advseg.train_options import TrainConfig
from tf_advseg.training.trainer import AdversarialTrainer


class Finite:
    """Checks all that a run goes on with: weights, statistics of batch norm, optimizers' moments.

    All of it is looked at by one graph. TensorFlow under Python 3.11 never gives back about 50
    bytes of each tensor that is made outside of one (its issue 62551), which for thousands of
    checkpoints would be much.

    Args:
      trainer: whose; its optimizers must be there.
    """

    def __init__(self, trainer: AdversarialTrainer):
        held = [(owner, v) for owner, v in _held(trainer) if v.dtype.is_floating]
        self._step = trainer.step
        self._names = [f"{owner}'s {variable.name}" for owner, variable in held]
        self._are_finite = tf.function(
            lambda: tf.stack([tf.reduce_all(tf.math.is_finite(v)) for _, v in held]),
            input_signature=[],
            autograph=False,
        )

    def require(self) -> None:
        """Raises FloatingPointError, with the first one's name, if one of them is not finite."""
        finite = self._are_finite().numpy()
        if not finite.all():
            name = self._names[finite.argmin()]
            raise FloatingPointError(f"step {int(self._step.numpy())}: the {name} is not finite")


@contextlib.contextmanager
def explained(config: TrainConfig) -> Iterator[None]:
    """Adds to such an error where the run can be gone on from, and what to try.

    Raises:
      FloatingPointError: instead of the one without.
    """
    try:
        yield
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}; {_advice(config)}") from error


def _advice(config: TrainConfig) -> str:
    try:
        last = Path(find_checkpoint(Path(config.run_dir), "last"))
        step = last.name.rpartition("-")[2]
        found, start = f"the last good checkpoint is {last} (step {step})", f" --weights {last} and"
    except InputError:
        found, start = "there is no checkpoint yet", ""
    tries = [f"a lower --learning_rate (now {config.learning_rate:g})"]
    if config.recipe().uses_discriminator:
        rate = config.discriminator_learning_rate
        tries.append(f"a lower --discriminator_learning_rate (now {rate:g})")
    if config.precision != "float32":
        tries.append("--precision float32")
    return f"{found}; try a new --run_dir with{start} {', or '.join(tries)}"


def _held(trainer: AdversarialTrainer) -> Iterator[tuple[str, tf.Variable]]:
    """Yields (whose, variable) of all that a checkpoint holds."""
    parts = {"segmenter": (trainer.segmenter, trainer.optimizer)}
    if trainer.discriminator is not None:
        parts["discriminator"] = trainer.discriminator, trainer.discriminator_optimizer
    if trainer.averaged is not None:
        yield from (("averaged segmenter", variable) for variable in trainer.averaged.weights)
    for name, (network, optimizer) in parts.items():
        yield from ((name, variable) for variable in network.weights)
        yield from ((f"{name} optimizer", variable) for variable in optimizer.variables)
