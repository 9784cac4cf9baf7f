"""Checks of images and labels, one by one and in pairs."""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tf_advseg.data.checks.problem import Problem
from tf_advseg.data.checks.seen import Survey
from tf_advseg.data.images import size_problem
from tf_advseg.data.labels import value_problem


def faulty_images(survey: Survey) -> Iterator[Problem]:
    """Images that are missing or cannot be used."""
    for image in survey.images.values():
        if image.fault:
            yield Problem(image.fault.kind, image.path, str(image.fault))


def faulty_labels(survey: Survey) -> Iterator[Problem]:
    """Labels that are there and cannot be used; of validation images, missing ones too."""
    needed = set(survey.val_ids)
    for image_id, label in survey.labels.items():
        fault = label.fault
        if fault and (image_id in needed or fault.kind != "missing label"):
            yield Problem(fault.kind, label.path, str(fault))


def misnamed_labels(survey: Survey) -> Iterator[Problem]:
    """Labels that training does not find, so that their images count as unlabeled."""
    needed = set(survey.val_ids)
    for image_id, label in survey.labels.items():
        fault = label.fault
        if label.hint and fault.kind == "missing label" and image_id not in needed:
            yield Problem("label of another name", label.path, str(fault), is_warning=True)


def two_images(survey: Survey) -> Iterator[Problem]:
    """Ids with several images, of which training takes the first."""
    for image in survey.images.values():
        for other in image.others:
            text = f"{other} is not used: {image.path} is taken"
            yield Problem("second image of an id", other, text, is_warning=True)


def sizes(survey: Survey) -> Iterator[Problem]:
    """Labels of another size than their image."""
    for image_id, label in survey.labels.items():
        image = survey.images[image_id]
        if label.size and image.size:
            text = size_problem(label.path, label.size, image.path, image.size)
            if text:
                yield Problem("label of another size", label.path, text)


def values(survey: Survey) -> Iterator[Problem]:
    """Labels with values that are no class."""
    classes = survey.dataset.classes
    for label in survey.labels.values():
        if len(classes) and (text := value_problem(label.path, label.counts, classes)):
            yield Problem("unknown label value", label.path, text)


def void_labels(survey: Survey) -> Iterator[Problem]:
    """Labels without any class."""
    for label in survey.labels.values():
        if set(label.counts) == {survey.dataset.classes.void_value}:
            text = f"{label.path} is void everywhere: nothing is learnt from it"
            yield Problem("label that is all void", label.path, text, is_warning=True)


def links_out(survey: Survey) -> Iterator[Problem]:
    """Links to files outside of the data folder.

    Training follows them, as folders that are made of links into a store are common. In a folder
    that came from elsewhere a link may show what it should not, so it is told.
    """
    dataset = survey.dataset
    folders = dataset.image_folder, dataset.label_folder, dataset.list_folder
    lists = map(dataset.list_path, survey.lists)
    seen = chain(survey.images.values(), survey.labels.values())
    home = Path(os.path.realpath(dataset.folder))
    for path in (*folders, *lists, *(file.path for file in seen if file.found)):
        target = Path(os.path.realpath(path))
        if os.path.islink(path) and not target.is_relative_to(home):
            text = f"{path} is a link to {target}, outside of the data folder"
            yield Problem("link out of the folder", path, text, is_warning=True)
