"""Checkpoints of a run: everything needed to go on, and the best networks so far."""

import sys
import tempfile
from pathlib import Path

import tensorflow as tf

from tf_advseg import checkpoint_files, disk
from tf_advseg.config import BEST, CHECKPOINTS
from tf_advseg.errors import InputError, first_line
from tf_advseg.saved_run import AVERAGED, SEGMENTER, UNREADABLE
from tf_advseg.training import finite, unwritable
from tf_advseg.training.trainer import AdversarialTrainer
from tf_advseg.training.window import Window

_KEPT = 3
#: Beside the last ones: the best, the best of before it, and one that is being written.
_AT_MOST = _KEPT + 3


class Checkpoints:
    """Writes and restores a trainer's checkpoints in RUN_DIR/checkpoints.

    A checkpoint holds the networks, averaged weights if there are any, both optimizers, the step,
    the window of the curves, the best mean IoU so far and the seconds spent training. The best by
    validation is kept in checkpoints/best, besides the last ones.

    Args:
      run_dir: the run's folder.
      trainer: whose.
      writes: whether this process is the one that writes there. One that is not must save all the
        same, because values that the workers hold together are read together; its files go into a
        temporary folder.

    Attributes:
      best_mean_iou: float64 variable; negative until a validation gives a number.
      seconds: float64 variable, as of the last checkpoint.
      window: of the curves.
    """

    def __init__(self, run_dir: Path, trainer: AdversarialTrainer, *, writes: bool = True):
        self.best_mean_iou = tf.Variable(-1.0, trainable=False, dtype=tf.float64)
        self.seconds = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        self.window = Window(trainer.metrics)
        parts = {
            SEGMENTER: trainer.segmenter,
            "optimizer": trainer.optimizer,
            "step": trainer.step,
            "best_mean_iou": self.best_mean_iou,
            "seconds": self.seconds,
        }
        if trainer.averaged is not None:
            parts[AVERAGED] = trainer.averaged
        if trainer.discriminator is not None:
            parts["discriminator"] = trainer.discriminator
            parts["discriminator_optimizer"] = trainer.discriminator_optimizer
        self._step, self._finite = trainer.step, finite.Finite(trainer)
        networks = trainer.segmenter, trainer.averaged, trainer.discriminator
        self._networks = [network for network in networks if network is not None]
        self._optimizers = [part for name, part in parts.items() if name.endswith("optimizer")]
        self._required = tf.train.Checkpoint(**parts)
        self._whole = tf.train.Checkpoint(**parts, window=self.window)
        self._source = run_dir / CHECKPOINTS
        self._writes, self._folder = writes, self._source
        if not writes:
            self._unused = tempfile.TemporaryDirectory(prefix="tf_advseg-")
            self._folder = Path(self._unused.name)
        self._saved_step = -1
        self._earlier_seconds = 0.0

    def best(self) -> float | None:
        """Returns the highest mean IoU of all validations; None until one gives a number."""
        best = float(self.best_mean_iou)
        return best if best >= 0 else None

    def restore(self) -> int:
        """Restores the last checkpoint, if there is one, and returns the step to go on with.

        One that cannot be read is told on stderr, and the one before it is taken. What is left of
        the steps past it, which will be taken again, is removed.

        Raises:
          InputError: none can be read: each is damaged, or of other networks.
        """
        found = checkpoint_files.steps(self._source)
        refused: list[InputError] = []
        for step in reversed(found):
            try:
                self._read(step)
            except InputError as error:
                refused.append(error)
                continue
            for error in refused:
                print(f"warning: {error}; the one before it is taken", file=sys.stderr)
            self._saved_step = step
            self._earlier_seconds = float(self.seconds)
            break
        else:
            if refused:
                earlier = "; nor one before it" if len(refused) > 1 else ""
                raise InputError(f"{refused[0]}{earlier}")
        if self._writes:
            self._tidy()
        return int(self._step.numpy())

    def save(self, seconds: float = 0.0) -> None:
        """Writes a checkpoint of this step, unless there is one.

        Args:
          seconds: spent training by this process.

        Raises:
          FloatingPointError: a value in it is not finite; a run could not go on from there.
          InputError: it cannot be written. Those before it are as they were.
        """
        if (step := int(self._step.numpy())) == self._saved_step:
            return
        self._finite.require()
        self.seconds.assign(self._earlier_seconds + seconds)
        with unwritable.naming(f"the checkpoint {checkpoint_files.prefix(self._folder, step)}"):
            checkpoint_files.write(self._whole, self._folder, step)
            self._saved_step = step
            self._keep()

    def save_if_best(self, mean_iou: float) -> bool:
        """Keeps this step as the best if its validation mean IoU is above all before.

        Raises:
          FloatingPointError: as `save`.
          InputError: it cannot be written.
        """
        if not mean_iou > float(self.best_mean_iou):
            return False
        self._finite.require()
        self.best_mean_iou.assign(mean_iou)
        folder, step = self._folder / BEST, int(self._step.numpy())
        with unwritable.naming(f"the checkpoint {checkpoint_files.prefix(folder, step)}"):
            checkpoint_files.write(self._whole, folder, step)
            self._keep()
        return True

    def require_room(self) -> None:
        """Asks for room for all checkpoints that will be kept.

        Raises:
          InputError: the run's folder has too little left.
        """
        held = [weight for network in self._networks for weight in network.weights]
        held += [slot for optimizer in self._optimizers for slot in optimizer.variables]
        one = sum(variable.shape.num_elements() * variable.dtype.size for variable in held)
        folders = (self._folder, self._folder / BEST)
        there = sum(checkpoint_files.size(folder) for folder in folders)
        disk.require_room(self._source.parent, _AT_MOST * one - there, "its checkpoints")

    def _read(self, step: int) -> None:
        path = checkpoint_files.prefix(self._source, step)
        try:
            status = self._required.read(path)
            status.assert_existing_objects_matched().expect_partial()
            # Older versions wrote none, or one of other trackers: then the next point of the curves
            # is the mean of fewer steps, and nothing else differs.
            tf.train.Checkpoint(window=self.window).read(path).expect_partial()
        except UNREADABLE as error:
            raise InputError(f"cannot load the checkpoint {path}: {first_line(error)}") from None
        if (held := int(self._step.numpy())) != step:
            raise InputError(f"cannot load the checkpoint {path}: it is of step {held}")

    def _keep(self) -> None:
        """Removes the checkpoints that nobody needs any more.

        The best so far may be of a step past the last checkpoint. A run that goes on from there
        needs the best of before it.
        """
        last = [step for step in checkpoint_files.steps(self._folder) if step <= self._saved_step]
        checkpoint_files.keep(self._folder, set(last[-_KEPT:]))
        best = checkpoint_files.steps(self._folder / BEST)
        before = [step for step in best if step <= self._saved_step]
        checkpoint_files.keep(self._folder / BEST, {*best[-1:], *before[-1:]})

    def _tidy(self) -> None:
        """Removes what a process that was killed left: past the last checkpoint, or unfinished.

        Last checkpoints that were refused stay until the next one is written.
        """
        for folder in (self._folder, self._folder / BEST):
            checkpoint_files.clean(folder)
        checkpoint_files.keep(self._folder, set(checkpoint_files.steps(self._folder)))
        best = checkpoint_files.steps(self._folder / BEST)
        kept = {step for step in best if step <= self._saved_step}
        checkpoint_files.keep(self._folder / BEST, kept)
