"""What a run shows that is going wrong without an error: rules on its losses and its validations.

A rule is a function and a line in TRAINING_RULES or VALIDATION_RULES. It gets the run's settings
and what was measured, and returns a Finding, or None. Each speaks once in a process.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tf_advseg.recipe import BOTH, CONFIDENCE, CROSS_ENTROPY, PROBABILITY, WEIGHTED
from tf_advseg.train_options import TrainConfig
from tf_advseg.training import adversarial
from tf_advseg.training.callbacks import EveryStep, Logs
from tf_advseg.training.objective import CONFIDENCE_PREDICTED, CONFIDENCE_TRUE

#: Steps for which something must go on before it is told, at least; else a tenth of the run. A
#: discriminator that was near to winning for 160 steps has recovered.
_LEAST_STEPS = 200
#: Of what a discriminator can know, as a share: it has won if less is left to learn. L_D, which is
#: 1.39 for one that knows nothing, is then below 0.07. In healthy runs it is 0.2 to 0.5.
_WON = 0.05
#: Between the mean confidences in true labels and in predictions, of one that tells nothing.
_ALIKE = 0.02
#: Share of the unlabeled pixels that is too little to learn from.
_FEW_SELECTED = 0.01
#: Shares of the validation pixels: of one class as predicted, at least, and truly, at most.
_ONE_CLASS, _SEVERAL_CLASSES = 0.99, 0.9
#: How pixels are selected -> the settings that they must be above.
_BOUNDS = {
    CONFIDENCE: ("t_semi",),
    PROBABILITY: ("t_probability",),
    BOTH: ("t_semi", "t_probability"),
    WEIGHTED: ("t_probability",),
}
_SMOOTHING = 0.1  # The challenge entry's label smoothing.


@dataclasses.dataclass(frozen=True)
class Finding:
    """What goes wrong, with its figures, and flags of a new run that may help; none may be left."""

    what: str
    tries: Sequence[str]

    def __str__(self) -> str:
        tries = f"; in a new run, try {', or '.join(self.tries)}" if self.tries else ""
        return f"{self.what}{tries}"


@dataclasses.dataclass(frozen=True)
class Stretch:
    """The means of what is tracked over the steps `first` to `last`."""

    first: int
    last: int
    means: Mapping[str, float]

    def __str__(self) -> str:
        return f"in the steps {self.first} to {self.last}"


@dataclasses.dataclass(frozen=True)
class Validated:
    """What a validation measured.

    Attributes:
      step: at which.
      confusion: [C, C], rows true and columns predicted.
      names: of the classes.
    """

    step: int
    confusion: np.ndarray
    names: Sequence[str]


def discriminator_won(config: TrainConfig, stretch: Stretch) -> Finding | None:
    """L_D is near the least that it can be: predictions are told from labels without fail."""
    means = stretch.means
    if "discriminator" not in means:
        return None
    loss, (least, most) = means["discriminator"], loss_range(config)
    if loss - least >= _WON * (most - least):
        return None
    selected = means.get("selected_fraction")
    passes = "" if selected is None else f"; {100 * selected:.1f} % of the pixels are selected"
    return Finding(
        f"the discriminator has won: L_D is {loss:.3f} {stretch}, where {least:.2f} is the least "
        f"and {most:.2f} is of one that knows nothing{passes}. The segmenter learns little from it",
        _weaker_discriminator(config),
    )


def discriminator_lost(config: TrainConfig, stretch: Stretch) -> Finding | None:
    """The discriminator says the same of true labels and of predictions."""
    true, predicted = (stretch.means.get(n) for n in (CONFIDENCE_TRUE, CONFIDENCE_PREDICTED))
    if true is None or predicted is None or true - predicted >= _ALIKE:
        return None
    rate = config.discriminator_learning_rate
    tries = [f"--discriminator_learning_rate {4 * rate:g} (now {rate:g})"]
    if config.spectral_norm:
        tries.append("--spectral_norm false")
    tries.append(f"--lambda_adv {config.lambda_adv / 4:g} (now {config.lambda_adv:g})")
    return Finding(
        f"the discriminator tells nothing: its mean confidence is {true:.3f} in true labels and "
        f"{predicted:.3f} in predictions {stretch}",
        tries if config.lambda_adv else tries[:-1],
    )


def nothing_selected(config: TrainConfig, stretch: Stretch) -> Finding | None:
    """Long after semi_start, next to no unlabeled pixel is selected."""
    selected = stretch.means.get("selected_fraction")
    if selected is None or selected >= _FEW_SELECTED or stretch.first <= config.semi_start:
        return None
    recipe = config.recipe()
    bounds = {name: getattr(config, name) for name in _BOUNDS[recipe.selected_by]}
    passed = " and ".join(f"{name} {value:g}" for name, value in bounds.items())
    lower = [f"--{name} {v / 2:g} (now {v:g})" for name, v in bounds.items() if v]
    return Finding(
        f"L_semi has nothing to learn from: {100 * selected:.2f} % of the unlabeled pixels pass "
        f"{passed} {stretch}",
        [*lower, *(_weaker_discriminator(config) if "t_semi" in bounds else ())],
    )


def one_class(config: TrainConfig, validated: Validated) -> Finding | None:
    """The segmenter predicts one class nearly everywhere, and the truth has several."""
    total = max(1, validated.confusion.sum())
    true, predicted = (validated.confusion.sum(axis=axis) / total for axis in (1, 0))
    largest = int(predicted.argmax())
    if predicted[largest] < _ONE_CLASS or true[largest] > _SEVERAL_CLASSES:
        return None
    tries = [f"--learning_rate {config.learning_rate / 4:g} (now {config.learning_rate:g})"]
    if config.recipe().uses_discriminator and config.lambda_adv:
        tries.append(f"--lambda_adv {config.lambda_adv / 4:g} (now {config.lambda_adv:g})")
    return Finding(
        f"the segmenter predicts one class: {validated.names[largest]!r} for "
        f"{100 * predicted[largest]:.1f} % of the validation pixels at step {validated.step}, "
        f"though {100 * true[largest]:.1f} % are truly of it",
        tries,
    )


TrainingRule = Callable[[TrainConfig, Stretch], Finding | None]
ValidationRule = Callable[[TrainConfig, Validated], Finding | None]

TRAINING_RULES: tuple[TrainingRule, ...] = (discriminator_won, discriminator_lost, nothing_selected)
VALIDATION_RULES: tuple[ValidationRule, ...] = (one_class,)


class Health(EveryStep):
    """Looks at each window of losses, and tells what goes wrong.

    Args:
      config: of the run.
      every: steps in a window: the trainer's means begin anew after each.
      warn: is given a rule's name, what it found, and the step.
    """

    def __init__(self, config: TrainConfig, every: int, warn: Callable[[str, str, int], None]):
        super().__init__()
        self._config, self._every, self._warn = config, every, warn
        self._patience = max(_LEAST_STEPS, config.steps // 10)
        self._windows: collections.deque[Logs] = collections.deque(
            maxlen=math.ceil(self._patience / every)
        )
        self._told: set[str] = set()

    def on_step(self, step: int, logs: Logs) -> None:
        if step % self._every:
            return
        self._windows.append(dict(logs))
        if len(self._windows) < self._windows.maxlen:
            return
        names = self._windows[0]
        means = {n: sum(w[n] for w in self._windows) / len(self._windows) for n in names}
        first = step - len(self._windows) * self._every + 1
        self._tell(TRAINING_RULES, Stretch(first, step, means), step)

    def on_validation(self, step: int, confusion: np.ndarray, names: Sequence[str]) -> None:
        """Looks at a validation; not at those of a run's beginning, where all is one class."""
        if step >= max(self._patience, self._config.steps // 4):
            self._tell(VALIDATION_RULES, Validated(step, confusion, names), step)

    def _tell(self, rules: Sequence[Callable], measured: Stretch | Validated, step: int) -> None:
        for rule in rules:
            if rule.__name__ in self._told:
                continue
            if (finding := rule(self._config, measured)) is not None:
                self._told.add(rule.__name__)
                self._warn(rule.__name__, str(finding), step)


def loss_range(config: TrainConfig) -> tuple[float, float]:
    """Returns L_D of a discriminator that knows all, and of the best one that knows nothing."""
    least, most = adversarial.loss_range(config.adversarial_loss, config.label_smoothing)
    return config.discriminator_loss_scale * least, config.discriminator_loss_scale * most


def _weaker_discriminator(config: TrainConfig) -> list[str]:
    """Returns flags with which predictions and true labels are harder to tell apart."""
    rate = config.discriminator_learning_rate
    tries = [] if config.spectral_norm else ["--spectral_norm true"]
    tries.append(f"--discriminator_learning_rate {rate / 4:g} (now {rate:g})")
    if not config.label_smoothing and config.adversarial_loss == CROSS_ENTROPY:
        tries.append(f"--label_smoothing {_SMOOTHING:g}")
    return tries
