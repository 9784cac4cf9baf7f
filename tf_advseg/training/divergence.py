"""Callbacks that end a run which trains no more, since its numbers are none."""

import math

from tf_advseg.training.callbacks import EveryStep, Logs
from tf_advseg.training.precision import LEAST_LOSS_SCALE, loss_scale
from tf_advseg.training.tracked import SKIPPED


class StopAtNaN(EveryStep):
    """Ends the run at the first loss that is no number: nothing after it is worth anything."""

    def __init__(self) -> None:
        super().__init__()
        self._last = 0  # The last step that was looked at.

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._last = int(self.model.step.numpy())

    def on_step(self, step: int, logs: Logs) -> None:
        wrong = [name for name, value in logs.items() if not math.isfinite(value)]
        if wrong:
            # The losses of the steps of one execution come as their mean.
            first = self._last + 1
            steps = f"step {step}" if first == step else f"one of the steps {first} to {step}"
            raise FloatingPointError(f"{steps}: {', '.join(wrong)} is not finite")
        self._last = step


class StopAtLeastLossScale(EveryStep):
    """Ends a run that trains no more: loss scaling skips every step, and can scale no lower.

    A step that is skipped now and then is normal.

    Args:
      patience: as many steps in a row.
    """

    def __init__(self, patience: int):
        super().__init__()
        self._patience = patience
        self._good: dict[str, int] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._good = dict.fromkeys(SKIPPED, int(self.model.step.numpy()))

    def on_step(self, step: int, logs: Logs) -> None:
        for name in filter(logs.__contains__, SKIPPED):
            # A share of the window so far: one good step in it shows until the next window.
            if logs[name] < 1 or self._scale(name) > LEAST_LOSS_SCALE:
                self._good[name] = step
            elif step - self._good[name] >= self._patience:
                raise FloatingPointError(
                    f"steps {self._good[name] + 1} to {step}: the gradients of the "
                    f"{name.removeprefix('skipped_')} overflow in every step, though the loss "
                    f"scale is at its least, {LEAST_LOSS_SCALE:g}"
                )

    def _scale(self, name: str) -> float:
        model = self.model
        by_name = dict(zip(SKIPPED, (model.optimizer, model.discriminator_optimizer), strict=True))
        return float(loss_scale(by_name[name]))
