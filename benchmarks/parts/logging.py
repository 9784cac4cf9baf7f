"""How much longer training takes because it tells of itself: curves, progress, checks."""

import dataclasses
import statistics

from benchmarks import harness
from benchmarks.parts import step
from benchmarks.results import Results
from benchmarks.settings import BATCH_NORMS, METHODS, PRECISIONS, Common, names
from benchmarks.workers import Contender
from tf_advseg.flags import choice, flag, integer
from tf_advseg.options import LOG_EVERY

DESCRIPTION = "Measure what curves and progress cost a training step, where steps are short."

PAIRS = "benchmarks.contenders.ours_logging:pairs"
#: Short steps are the worst case: what is logged does not grow with the network or its images.
_BACKBONE, _SIZE = "small", "96"


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """Which steps are measured; `repetitions` is the number of pairs."""

    methods: tuple[str, ...] = flag(METHODS, names(METHODS), "methods")
    precision: str = flag("float32", choice(PRECISIONS), "precision")
    batch: int = flag(8, integer(1), "labeled images in a step, and again of unlabeled ones")
    num_classes: int = flag(21, integer(2, 255), "classes")
    batch_norm: str = flag("train", choice(BATCH_NORMS), "what the backbone's batch norm does")
    steps: int = flag(2 * LOG_EVERY, integer(LOG_EVERY), "steps of each training")


def run(settings: Settings) -> None:
    """Measures each method, and writes and prints what came out."""
    with Results("logging", settings, len(settings.methods)) as results:
        for method in settings.methods:
            others = step.shared(settings)
            case = step.case_of(_BACKBONE, method, settings.precision, _SIZE, **others)
            options = {"case": case, "steps": settings.steps, "pairs": settings.repetitions}
            facts = harness.facts_of(Contender(harness.OURS, PAIRS, options))
            seconds = facts["seconds"]
            ratio = harness.ratio(seconds["with"], seconds["without"])
            taken = facts["cores_taken_by_others"]
            results.tick()
            results.add(
                {
                    "case": case,
                    "seconds": seconds,
                    "times_as_long": ratio,
                    "cores_taken_by_others": taken,
                }
            )
            own = statistics.median(seconds["without"]) / settings.steps
            results.say(
                f"{step.name(case)} {method:<8}  {own:.4f} s a step; with logging "
                f"{ratio['median']:.4f} times as long ({ratio['min']:.4f} to {ratio['max']:.4f})"
                f"  (others took {taken:.1f} cores)"
            )
