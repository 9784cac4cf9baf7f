"""Every check that there is, on what was read."""

from collections.abc import Callable, Iterator

from tf_advseg.data.checks import of_classes, of_files, of_lists
from tf_advseg.data.checks.problem import Problem
from tf_advseg.data.checks.seen import Survey

#: What is looked for, in the order in which it is told. To add a check, write its function and add
#: its line here.
CHECKS: tuple[Callable[[Survey], Iterator[Problem]], ...] = (
    of_classes.wrong_classes,
    of_lists.wrong_lists,
    of_lists.no_labels,
    of_lists.shared_ids,
    of_lists.shared_content,
    of_files.faulty_images,
    of_files.faulty_labels,
    of_files.sizes,
    of_files.values,
    of_files.misnamed_labels,
    of_files.two_images,
    of_files.void_labels,
    of_files.links_out,
    of_lists.alike_ids,
    of_classes.equal_colors,
    of_classes.unseen_classes,
)


def examine(survey: Survey) -> list[Problem]:
    """Returns all problems, and then all warnings, in the order of the checks."""
    found = [problem for check in CHECKS for problem in check(survey)]
    return sorted(found, key=lambda problem: problem.is_warning)
