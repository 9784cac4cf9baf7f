"""PASCAL VOC 2012, with the further labels of SBD or of the file that the authors merged."""

import dataclasses
from collections.abc import Collection, Mapping

from tf_advseg.data.classes import VOC2012
from tf_advseg.data.prepare import preparation, settings
from tf_advseg.data.prepare.parts import Found, Part
from tf_advseg.data.prepare.preparation import Convert, Member, Plan, Published
from tf_advseg.data.prepare.settings import Settings
from tf_advseg.errors import InputError
from tf_advseg.flags import choice, flag, switch

_ID = r"[\w-]{1,64}"
_VOC_URL = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
_SBD_URL = (
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
    "benchmark.tgz"
)
_REMEDIES = "allowed: --archive FILE of it, from {url}, or --download"

VOC = Part(
    title="VOC 2012",
    folder="VOCdevkit/VOC2012",
    members=rf"JPEGImages/{_ID}\.jpg|SegmentationClass/{_ID}\.png"
    r"|ImageSets/Segmentation/(?:train|val)\.txt",
    file_name="VOCtrainval_11-May-2012.tar",
    where=_REMEDIES.format(url=_VOC_URL),
    digest="sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
    url=_VOC_URL,
    size=1_999_639_040,
    download_bytes=1_999_639_040,
)
SBD = Part(
    title="SBD",
    folder="benchmark_RELEASE/dataset",
    members=rf"cls/{_ID}\.mat|(?:train|val)\.txt",
    file_name="benchmark.tgz",
    where=_REMEDIES.format(url=_SBD_URL),
    digest="md5:82b4d87ceb2ed10f6038a1cba92111cb",
    url=_SBD_URL,
    download_bytes=1_500_000_000,
)
AUG = Part(
    title="the merged labels",
    folder="SegmentationClassAug",
    members=rf"{_ID}\.png",
    file_name="SegmentationClassAug.zip",
    where="it has no official address; allowed: --archive FILE of it, or --labels sbd",
    digest="sha256:63b2c2e40badf93e7c4a91e2c5e6dd2eb68ace6a639736f9a2447b446ec2a13d",
)

_PARTS = {"sbd": (VOC, SBD), "aug": (VOC, AUG), "voc": (VOC,)}
_COUNTS = {"train_aug": 10582, "train": 1464, "val": 1449}


@dataclasses.dataclass(frozen=True)
class VocSettings(Settings):
    """The flags of voc2012."""

    labels: str = flag(
        "sbd",
        choice(_PARTS),
        "what labels the training images beside VOC: SBD, SegmentationClassAug.zip, or nothing",
    )
    download: bool = flag(
        False,
        switch(),
        "fetch what --archive does not give; without --archive, a new folder is fetched anyway",
    )


_EPILOG = f"""what is needed:
  {VOC.file_name} (2.0 GB) {_VOC_URL}
  {SBD.file_name} (1.4 GB), for --labels sbd
    {_SBD_URL}
  {AUG.file_name}, for --labels aug: no official address"""


def prepare(argv: list[str]) -> None:
    """Prepares VOC 2012 as the flags in `argv` say.

    Raises:
      InputError: a wrong flag, archive or folder.
    """
    description = "Prepares PASCAL VOC 2012 for train.py --dataset voc2012."
    given = settings.read(VocSettings, VOC2012.name, argv, description, _EPILOG)
    own_only = given.labels == "voc"
    published = Published(
        classes=VOC2012,
        known=(VOC, SBD, AUG),
        needed=_PARTS[given.labels],
        counts={n: c for n, c in _COUNTS.items() if not (own_only and n == "train_aug")},
        image_suffix=".jpg",
        image_bytes=120_000,
        label_bytes=8_000,
        choices={"labels": given.labels},
        # The presets train on train_aug.
        train_flags="--train_split train" if own_only else "",
    )
    preparation.prepare(given, published, plan, download=given.download)


def plan(found: Mapping[str, Found]) -> Plan:
    """Returns what is to be in the folder.

    Where VOC labels an image, VOC's label is taken, which is finer than SBD's. SBD, or the file of
    merged labels, labels the rest of the training images.

    Args:
      found: title -> part: VOC, and SBD or AUG or neither.

    Raises:
      InputError: a list, image or label is missing or wrong.
    """
    voc = found[VOC.title]
    train, val = (voc.ids(f"ImageSets/Segmentation/{name}.txt") for name in ("train", "val"))
    if shared := train & val:
        raise InputError(f"{voc.archive} has {min(shared)!r} in both train.txt and val.txt")
    lists = {"train": sorted(train), "val": sorted(val)}
    own, rest = train | val, {}
    further = _further(found)
    if further is not None:
        extra = further.ids - val
        own |= {i for i in extra if f"SegmentationClass/{i}.png" in voc.names}
        rest = _members(further.found, further.path, extra - own, further.convert)
        lists = {"train_aug": sorted(train | extra), **lists}
    labels = {**_members(voc, "SegmentationClass/{}.png", own, _png), **rest}
    images = _members(voc, "JPEGImages/{}.jpg", set(labels), None)
    return Plan(lists, images, labels)


@dataclasses.dataclass(frozen=True)
class _Further:
    """Labels beside VOC's.

    Attributes:
      found: the part that holds them.
      ids: of the images that it labels.
      path: of a label, with braces for the id.
      convert: makes a label file of one.
    """

    found: Found
    ids: set[str]
    path: str
    convert: Convert


def _further(found: Mapping[str, Found]) -> _Further | None:
    if sbd := found.get(SBD.title):
        return _Further(sbd, sbd.ids("train.txt") | sbd.ids("val.txt"), "cls/{}.mat", _mat)
    if aug := found.get(AUG.title):
        return _Further(aug, {path.removesuffix(".png") for path in aug.names}, "{}.png", _png)
    return None


def _members(
    found: Found, path: str, ids: Collection[str], convert: Convert | None
) -> dict[str, Member]:
    """Returns id -> member of each; `path` has braces for the id."""
    members = {i: Member(found, path.format(i), convert) for i in sorted(ids)}
    for member in members.values():
        if member.path not in found.names:
            raise InputError(f"{found.archive} has no {found.part.folder}/{member.path}")
    return members


def _png(content: bytes, name: str) -> bytes:
    from tf_advseg.data.prepare import label_files

    return label_files.to_png(label_files.read_voc_png(content, VOC2012, name), VOC2012)


def _mat(content: bytes, name: str) -> bytes:
    from tf_advseg.data.prepare import label_files, sbd

    # SBD marks no void pixels.
    own_ids = label_files.own_ids(VOC2012, void=False)
    values = label_files.to_class_ids(sbd.read_mat(content, name), own_ids, name)
    return label_files.to_png(values, VOC2012)
