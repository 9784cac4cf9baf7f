"""What a report shows, as values. `gather` collects them; `html` and `markdown` write them."""

import dataclasses
import math

from tf_advseg.evaluation.selection import Selection


@dataclasses.dataclass(frozen=True)
class Fact:
    """A name and a text, such as a flag and its value."""

    name: str
    value: str


@dataclasses.dataclass(frozen=True)
class Measure:
    """A name and a share in 0-1; None where it is not known or means nothing."""

    name: str
    value: float | None


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """A class and its score.

    Attributes:
      number: the class id, which stands for the class in pictures and columns.
      name: of the class.
      color: RGB in 0-255.
      iou: in 0-1; None for a class that is in neither truth nor prediction.
      share: of the pixels with a class, those that are truly of this one, in 0-1.
    """

    number: int
    name: str
    color: tuple[int, int, int]
    iou: float | None
    share: float


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Pixels of one class that are taken for another.

    Attributes:
      true: name of their class.
      predicted: name of the class that they are taken for.
      share: of the pixels of their class, in 0-1.
    """

    true: str
    predicted: str
    share: float


@dataclasses.dataclass(frozen=True)
class Score:
    """How well one confidence tells right pixels from wrong ones.

    Attributes:
      name: of the confidence.
      selections: what is above each threshold, the thresholds ascending.
      auc: the area under the ROC curve; None where all pixels are of one kind.
    """

    name: str
    selections: tuple[Selection, ...]
    auc: float | None


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How far confidence can be relied upon.

    Attributes:
      confidence: the discriminator's; None for a run without one.
      probability: the largest softmax probability's.
      t_semi: the run's own threshold of the confidence.
    """

    confidence: Score | None
    probability: Score
    t_semi: float

    @property
    def scores(self) -> tuple[Score, ...]:
        """The confidences that there are."""
        return tuple(score for score in (self.confidence, self.probability) if score is not None)

    @property
    def own(self) -> Selection | None:
        """What the run's own threshold keeps by the discriminator's confidence, if it has one."""
        if self.confidence is None:
            return None
        return next(s for s in self.confidence.selections if s.threshold == self.t_semi)


@dataclasses.dataclass(frozen=True)
class RegionNumber:
    """A class id to be written on a region of a picture.

    Attributes:
      number: the class id.
      left, top: of its middle, as shares of the picture's width and height, in 0-1.
    """

    number: int
    left: float
    top: float


@dataclasses.dataclass(frozen=True)
class Picture:
    """An encoded picture.

    Attributes:
      title: what it shows, such as "truth".
      media_type: of the data, such as "image/png".
      data: the file's bytes.
      size: width and height in pixels.
      numbers: to be written on it.
    """

    title: str
    media_type: str
    data: bytes
    size: tuple[int, int]
    numbers: tuple[RegionNumber, ...] = ()


@dataclasses.dataclass(frozen=True)
class ShownImage:
    """An image of the split, its own mean IoU in 0-1, and the pictures of it."""

    image_id: str
    mean_iou: float
    pictures: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class ImageGroup:
    """Images that are shown for one reason, such as "Best"."""

    title: str
    images: tuple[ShownImage, ...]


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
      name: what it is of.
      steps: ascending.
      values: one for each step.
    """

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """NaN if no value is a number."""
        return min(self._numbers(), default=math.nan)

    @property
    def highest(self) -> float:
        """NaN if no value is a number."""
        return max(self._numbers(), default=math.nan)

    def _numbers(self) -> list[float]:
        return [value for value in self.values if not math.isnan(value)]


@dataclasses.dataclass(frozen=True)
class CurveChart:
    """Curves over the steps of training that are drawn into one chart.

    Attributes:
      title: of the chart.
      note: what to know when reading it; or nothing.
      percent: whether the values are shares in 0-1, to be shown in %.
      lines: at least one.
    """

    title: str
    note: str
    percent: bool
    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class Report:
    """All that a report shows.

    Attributes:
      title: what was evaluated, in a few words.
      measures: the numbers to see first.
      facts: what was evaluated.
      settings: how, as flags of the command.
      training: flags of the run.
      warning: why the numbers do not compare with others; None if they do.
      classes: by class id.
      confusion: shares of the pixels of each true class, rows true and columns predicted; None for
        a row without pixels.
      confusions: the largest, the largest first.
      images: best, median and worst.
      images_without_class: how many images have no pixel with a class, and so no score.
      confidence_name: whose confidence the pictures show.
      reliability: of the confidence.
      curves: of the training.
      missing_curves: why there are none; None if there are.
    """

    title: str
    measures: tuple[Measure, ...]
    facts: tuple[Fact, ...]
    settings: tuple[Fact, ...]
    training: tuple[Fact, ...]
    warning: str | None
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[float, ...] | None, ...]
    confusions: tuple[Confusion, ...]
    images: tuple[ImageGroup, ...]
    images_without_class: int
    confidence_name: str
    reliability: Reliability
    curves: tuple[CurveChart, ...]
    missing_curves: str | None
