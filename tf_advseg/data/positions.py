"""Which places of which batches a process reads.

The images of a run stand in one endless sequence: place `i` of step `s` is position
`s * batch_size + i`. A step's batch is cut into equal pieces, one for each replica in their order,
and a process reads the pieces of its own replicas only.
"""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Share:
    """A process's part of each batch.

    Attributes:
      index: of the process among those that read.
      of: number of processes.
      pieces: replicas in each process; every element of its data set is the piece of one.
    """

    index: int = 0
    of: int = 1
    pieces: int = 1

    def piece_size(self, batch_size: int) -> int:
        """Returns how many images a piece of a batch has.

        Raises:
          ValueError: the batch cannot be cut into equal pieces.
        """
        if batch_size % (self.of * self.pieces):
            raise ValueError(
                f"a batch of {batch_size} cannot be cut into {self.of * self.pieces} equal pieces"
            )
        return batch_size // (self.of * self.pieces)


#: All of each batch, in one piece.
WHOLE = Share()


def positions(
    batch_size: int, first_step: int, steps: int | None, share: Share = WHOLE
) -> tf.data.Dataset:
    """Returns the positions that a share holds, in order.

    Args:
      batch_size: of the whole batch.
      first_step: where to start.
      steps: where to end; None means never.
      share: whose.

    Returns:
      a data set of int64 [].
    """
    own = share.piece_size(batch_size) * share.pieces
    end = tf.int64.max if steps is None else steps * own
    dataset = tf.data.Dataset.range(first_step * own, end)
    if share.of == 1:
        return dataset
    first = share.index * own
    return dataset.map(lambda place: place // own * batch_size + first + place % own)
