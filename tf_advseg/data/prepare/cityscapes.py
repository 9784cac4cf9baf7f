"""Cityscapes, with the 19 classes that are trained on. Its archives need a login to download."""

from collections.abc import Mapping

from tf_advseg.data import VOID_LABEL
from tf_advseg.data.classes import CITYSCAPES
from tf_advseg.data.prepare import preparation, settings
from tf_advseg.data.prepare.parts import Found, Part
from tf_advseg.data.prepare.preparation import Member, Plan, Published
from tf_advseg.data.prepare.settings import Settings
from tf_advseg.errors import InputError

_SITE = "https://www.cityscapes-dataset.com/downloads/"
_WHERE = f"it needs a login at {_SITE}; allowed: --archive FILE of it, or the extracted folder"
_IMAGE_END, _LABEL_END = "_leftImg8bit.png", "_gtFine_labelIds.png"
_STEM = r"(?:train|val)/[\w-]{1,64}/[\w-]{1,64}"

# No checksum is published. That all images are there is told by their number.
IMAGES = Part(
    title="the images",
    folder="leftImg8bit",
    members=_STEM + _IMAGE_END.replace(".", r"\."),
    file_name="leftImg8bit_trainvaltest.zip",
    where=_WHERE,
)
LABELS = Part(
    title="the labels",
    folder="gtFine",
    members=_STEM + _LABEL_END.replace(".", r"\."),
    file_name="gtFine_trainvaltest.zip",
    where=_WHERE,
)

#: Ids in a label file whose class is trained on, by training id (cityscapesScripts, labels.py).
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_NUM_LABEL_IDS = 34  # From 0 on; the others are void.

_COUNTS = {"train": 2975, "val": 500}

_EPILOG = f"""what is needed, from {_SITE} (after a login):
  {IMAGES.file_name} (11 GB)
  {LABELS.file_name} (241 MB)
or the folders that they were extracted to"""


def prepare(argv: list[str]) -> None:
    """Prepares Cityscapes as the flags in `argv` say.

    Raises:
      InputError: a wrong flag, archive or folder.
    """
    description = "Prepares Cityscapes for train.py --dataset cityscapes."
    given = settings.read(Settings, CITYSCAPES.name, argv, description, _EPILOG)
    published = Published(
        classes=CITYSCAPES,
        known=(IMAGES, LABELS),
        needed=(IMAGES, LABELS),
        counts=_COUNTS,
        image_suffix=".png",
        image_bytes=2_400_000,
        label_bytes=40_000,
    )
    preparation.prepare(given, published, plan)


def plan(found: Mapping[str, Found]) -> Plan:
    """Returns what is to be in the folder.

    Args:
      found: title -> part, both.

    Raises:
      InputError: an image has no label, or the other way round, or two have one id.
    """
    images, labels = found[IMAGES.title], found[LABELS.title]
    lists: dict[str, list[str]] = {name: [] for name in _COUNTS}
    image_members: dict[str, Member] = {}
    label_members: dict[str, Member] = {}
    for path in sorted(images.names):
        split, _, name = path.split("/")
        image_id = name.removesuffix(_IMAGE_END)
        if image_id in image_members:
            raise InputError(f"{images.archive} has two images of the id {image_id}")
        label = path.removesuffix(_IMAGE_END) + _LABEL_END
        if label not in labels.names:
            raise InputError(f"{labels.archive} has no {LABELS.folder}/{label}")
        lists[split].append(image_id)
        image_members[image_id] = Member(images, path)
        label_members[image_id] = Member(labels, label, _to_train_ids)
    used = {member.path for member in label_members.values()}
    if unused := sorted(set(labels.names) - used):
        image = unused[0].removesuffix(_LABEL_END) + _IMAGE_END
        raise InputError(f"{images.archive} has no {IMAGES.folder}/{image}")
    return Plan({name: sorted(ids) for name, ids in lists.items()}, image_members, label_members)


def train_ids() -> dict[int, int]:
    """Returns value of a label file -> class id or VOID_LABEL."""
    ids = dict.fromkeys(range(_NUM_LABEL_IDS), VOID_LABEL)
    return ids | {label_id: index for index, label_id in enumerate(LABEL_IDS)}


def _to_train_ids(content: bytes, name: str) -> bytes:
    from tf_advseg.data.prepare import label_files

    values = label_files.read_png(content, name)
    return label_files.to_png(label_files.to_class_ids(values, train_ids(), name), CITYSCAPES)
