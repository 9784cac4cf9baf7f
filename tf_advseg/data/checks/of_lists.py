"""Checks of the lists of ids, and of what they have in common."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from tf_advseg.data import splits
from tf_advseg.data.checks.problem import Problem
from tf_advseg.data.checks.seen import Survey
from tf_advseg.data.files import shared_problems
from tf_advseg.data.names import folded


def wrong_lists(survey: Survey) -> Iterator[Problem]:
    """Lists that cannot be read, are empty, or name an id twice or one that is no file name."""
    for split, listing in survey.lists.items():
        for text in listing.problems:
            yield Problem("wrong list", survey.dataset.list_path(split), text)


def no_labels(survey: Survey) -> Iterator[Problem]:
    """A list of training images, of which not one has a label."""
    ids = survey.train_ids
    if ids and not any(survey.labels[i].found for i in ids):
        text = splits.no_labels(survey.train_split, survey.dataset.folder)
        yield Problem("no labels", survey.dataset.list_path(survey.train_split), text)


def shared_ids(survey: Survey) -> Iterator[Problem]:
    """Ids that are for both training and validation."""
    path = survey.dataset.list_path(survey.val_split)
    for text in shared_problems(survey.val_split, survey.val_ids, set(survey.train_ids)):
        yield Problem("image for training and validation", path, text)


def shared_content(survey: Survey) -> Iterator[Problem]:
    """Validation images whose bytes are those of a training image of another id.

    Training works, but its validation tells of images that it has learnt by heart.
    """
    train = {i: survey.images[i] for i in survey.train_ids}
    by_digest = {image.digest: image for image in train.values() if image.digest}
    for image_id in survey.val_ids:
        image = survey.images[image_id]
        twin = by_digest.get(image.digest)
        if twin and image_id not in train:
            text = (
                f"{image.path}, for validation, has the bytes of the training image {twin.path}; "
                "allowed: different images"
            )
            yield Problem("image for training and validation", image.path, text)


def alike_ids(survey: Survey) -> Iterator[Problem]:
    """Ids that are one where a file system takes no notice of case or Unicode form."""
    for alike in _groups((folded(i), i) for i in survey.images):
        shown = ", ".join(map(repr, alike))
        text = (
            f"the ids {shown} differ only in case or Unicode form: "
            "copied to Windows or macOS, one would overwrite the other"
        )
        yield Problem("ids alike", survey.images[alike[0]].path, text, is_warning=True)


def _groups(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Returns the values that share a key, of each key with several."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return [group for group in groups.values() if len(group) > 1]
