"""What the replicas of a strategy do together, so that N of them train as one would.

A replica holds a part of each batch. Losses divide its own sum by the count of all replicas
(`losses.masked_mean`), so that they, and their gradients, are parts of one whole: their sum over
the replicas is what one replica has that holds the whole batch. Where there is one replica,
nothing here adds an operation.
"""

from typing import TypeVar

import keras
import tensorflow as tf

Tensors = TypeVar("Tensors")


def summed(tensors: Tensors) -> Tensors:
    """Returns the sum over all replicas, the same on each.

    Args:
      tensors: a float tensor, or a list of them. Outside of a replica, and where there is one, they
        are returned as they are.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def assign(variables: list[tf.Variable], values: list[tf.Tensor]) -> None:
    """Gives variables new values, the same on every replica."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return

    def update(strategy: tf.distribute.Strategy, values: list) -> None:
        for variable, value in zip(variables, values, strict=True):
            strategy.extended.update(variable, lambda own, new: own.assign(new), args=(value,))

    context.merge_call(update, args=(values,))


class SharedMean(keras.metrics.Mean):
    """A mean of values that are the same on every replica, read without asking the others."""

    def add_weight(self, name: str, **kwargs) -> tf.Variable:
        kwargs["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
        return super().add_weight(name, **kwargs)
