"""The processes that train one run together, seen from one of them."""

import contextlib
import re
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tf_advseg.cluster import Cluster
from tf_advseg.errors import WorkerLost, first_line

_SIGNALS = 65

#: What TensorFlow raises in a worker whose peers cannot be reached any more.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
#: What it may raise then, and for failures of this worker too; the message tells.
_MAY_BE_LOST = (
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
)
_OF_PEERS = re.compile("aborted by|coordination|heartbeat|socket closed", re.IGNORECASE)


class Workers:
    """The workers of a run. One that trains alone agrees with itself at no cost.

    Every method but `share` must be called by all workers, in the same order: each waits for the
    others.

    Args:
      strategy: of the run.
      cluster: its workers, and which of them this is.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster):
        self._strategy, self._cluster = strategy, cluster

    @property
    def count(self) -> int:
        """Number of workers."""
        return self._cluster.size

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes."""
        return self._cluster.is_chief

    def share(self, count: int) -> range:
        """Returns which of `count` items are this worker's: each is one worker's, in order."""
        first, end = (
            count * index // self._cluster.size
            for index in (self._cluster.index, self._cluster.index + 1)
        )
        return range(first, end)

    def summed(self, counts: np.ndarray) -> np.ndarray:
        """Returns the sum of all workers' counts, of any one shape and dtype."""
        if self._cluster.size == 1:
            return counts
        replicas = self._strategy.num_replicas_in_sync // self._cluster.size

        def of_replica(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
            # A worker's counts are its first replica's.
            first = context.replica_id_in_sync_group % replicas == 0
            return tf.constant(counts if first else np.zeros_like(counts))

        values = self._strategy.experimental_distribute_values_from_function(of_replica)
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy()

    def largest(self, number: int) -> int:
        """Returns the largest of all workers' numbers, each a signal's or 0."""
        if self._cluster.size == 1:
            return number
        told = np.zeros(_SIGNALS, np.int64)
        told[number] = 1
        return int(np.flatnonzero(self.summed(told))[-1])

    @contextlib.contextmanager
    def naming_lost(self) -> Iterator[None]:
        """Says in one line that another worker is gone.

        Raises:
          WorkerLost: instead of TensorFlow's error.
        """
        try:
            yield
        except (*_LOST, *_MAY_BE_LOST) as error:
            lost = isinstance(error, _LOST) or _OF_PEERS.search(error.message)
            if self._cluster.size == 1 or not lost:
                raise
            raise WorkerLost(
                f"another of the {self._cluster.size} workers is gone, or failed; see its own "
                f"message, and start all of them again with --resume ({_reason(error)})"
            ) from error


def _reason(error: tf.errors.OpError) -> str:
    """Returns the line of the error that says why; a graph's error begins with where it was."""
    lines = [line for line in error.message.splitlines() if _OF_PEERS.search(line)]
    return lines[0].strip() if lines else first_line(error)
