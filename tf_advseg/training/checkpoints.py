"""Checkpoints of a run: everything needed to go on, and the best networks so far."""

import tempfile
from pathlib import Path

import tensorflow as tf

from tf_advseg.config import BEST, CHECKPOINTS
from tf_advseg.errors import InputError, first_line
from tf_advseg.saved_run import UNREADABLE
from tf_advseg.training import finite
from tf_advseg.training.trainer import AdversarialTrainer

_KEPT = 3


class Checkpoints:
    """Writes and restores a trainer's checkpoints in RUN_DIR/checkpoints.

    A checkpoint holds both networks, both optimizers, the step, the best mean IoU so far and the
    seconds spent training. The best by validation is kept in checkpoints/best, besides the last
    ones.

    Args:
      run_dir: the run's folder.
      trainer: whose.
      writes: whether this process is the one that writes there. One that is not must save all the
        same, because values that the workers hold together are read together; its files go into a
        temporary folder.
    """

    def __init__(self, run_dir: Path, trainer: AdversarialTrainer, *, writes: bool = True):
        self.best_mean_iou = tf.Variable(-1.0, trainable=False, dtype=tf.float64)
        self.seconds = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        parts = {
            "segmenter": trainer.segmenter,
            "optimizer": trainer.optimizer,
            "step": trainer.step,
            "best_mean_iou": self.best_mean_iou,
            "seconds": self.seconds,
        }
        if trainer.discriminator is not None:
            parts["discriminator"] = trainer.discriminator
            parts["discriminator_optimizer"] = trainer.discriminator_optimizer
        self._step, self._trainer = trainer.step, trainer
        checkpoint = tf.train.Checkpoint(**parts)
        self._folder = folder = run_dir / CHECKPOINTS
        if not writes:
            self._unused = tempfile.TemporaryDirectory(prefix="tf_advseg-")
            folder = Path(self._unused.name)
        self._last = tf.train.CheckpointManager(
            checkpoint, str(folder), _KEPT, checkpoint_name="step"
        )
        self._best = tf.train.CheckpointManager(
            checkpoint, str(folder / BEST), 1, checkpoint_name="step"
        )
        self._saved_step = -1
        self._earlier_seconds = 0.0

    def best(self) -> float | None:
        """Returns the highest mean IoU of all validations; None until one gives a number."""
        best = float(self.best_mean_iou)
        return best if best >= 0 else None

    def restore(self) -> int:
        """Restores the last checkpoint, if there is one, and returns the step to go on with.

        Raises:
          InputError: it is damaged, or of other networks.
        """
        if (path := tf.train.latest_checkpoint(str(self._folder))) is not None:
            try:
                self._last.checkpoint.restore(path).assert_existing_objects_matched()
            except UNREADABLE as error:
                raise InputError(
                    f"cannot load the checkpoint {path}: {first_line(error)}"
                ) from None
            self._saved_step = int(self._step.numpy())
            self._earlier_seconds = float(self.seconds)
        return int(self._step.numpy())

    def save(self, seconds: float = 0.0) -> None:
        """Writes a checkpoint of this step, unless there is one.

        Args:
          seconds: spent training by this process.

        Raises:
          FloatingPointError: a value in it is not finite; a run could not go on from there.
        """
        if (step := int(self._step.numpy())) == self._saved_step:
            return
        finite.require(self._trainer)
        self.seconds.assign(self._earlier_seconds + seconds)
        self._last.save(checkpoint_number=step)
        self._saved_step = step

    def save_if_best(self, mean_iou: float) -> bool:
        """Keeps this step as the best if its validation mean IoU is above all before.

        Raises:
          FloatingPointError: as `save`.
        """
        if not mean_iou > float(self.best_mean_iou):
            return False
        finite.require(self._trainer)
        self.best_mean_iou.assign(mean_iou)
        self._best.save(checkpoint_number=int(self._step.numpy()))
        return True
