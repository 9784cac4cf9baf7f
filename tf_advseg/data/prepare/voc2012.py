"""PASCAL VOC 2012, with the further labels of SBD or of the file that the authors merged."""

import dataclasses
from collections.abc import Collection, Mapping

from tf_advseg.data.classes import VOC2012
from tf_advseg.data.prepare import preparation, settings
from tf_advseg.data.prepare.download import Source
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
    source=Source(
        file_name="VOCtrainval_11-May-2012.tar",
        url=_VOC_URL,
        size=1_999_639_040,
        digests=(
            ("md5", "6cd6e144f989b92b3379bac3b3de84fd"),
            ("sha256", "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"),
        ),
    ),
    where=_REMEDIES.format(url=_VOC_URL),
    download_bytes=1_999_639_040,
)
SBD = Part(
    title="SBD",
    folder="benchmark_RELEASE/dataset",
    members=rf"cls/{_ID}\.mat|(?:train|val)\.txt",
    source=Source(
        file_name="benchmark.tgz",
        url=_SBD_URL,
        size=None,
        digests=(("md5", "82b4d87ceb2ed10f6038a1cba92111cb"),),
    ),
    where=_REMEDIES.format(url=_SBD_URL),
    download_bytes=1_500_000_000,
)
AUG = Part(
    title="the merged labels",
    folder="SegmentationClassAug",
    members=rf"{_ID}\.png",
    source=Source(
        file_name="SegmentationClassAug.zip",
        url=None,
        size=None,
        digests=(("sha256", "63b2c2e40badf93e7c4a91e2c5e6dd2eb68ace6a639736f9a2447b446ec2a13d"),),
    ),
    where="it has no official address; allowed: --archive FILE of it, or --labels sbd",
)

_PARTS = {"sbd": (VOC, SBD), "aug": (VOC, AUG), "voc": (VOC,)}
_COUNTS = {"train_aug": 10582, "train": 1464, "val": 1449}


@dataclasses.dataclass(frozen=True)
class VocSettings(Settings):
    """The flags of voc2012."""

    labels: str = flag(
        "sbd",
        choice(_PARTS),
        "of the training images: VOC's and SBD's, those of SegmentationClassAug.zip, or VOC's",
    )
    download: bool = flag(
        False, switch(), "fetch what --archive does not give; without --archive it is fetched"
    )


_EPILOG = f"""what is needed:
  {VOC.source.file_name} (2.0 GB) {_VOC_URL}
  {SBD.source.file_name} (1.4 GB), for --labels sbd
    {_SBD_URL}
  {AUG.source.file_name}, for --labels aug: no official address"""


def prepare(argv: list[str]) -> None:
    """Prepares VOC 2012 as the flags in `argv` say.

    Raises:
      InputError: a wrong flag, archive or folder.
    """
    given = settings.read(
        VocSettings, argv, "Prepares PASCAL VOC 2012 for train.py --dataset voc2012.", _EPILOG
    )
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
    may_download = given.download or not given.archives
    preparation.prepare(given, published, plan, may_download=may_download)


def plan(found: Mapping[str, Found]) -> Plan:
    """Returns what is to be in the folder.

    Args:
      found: title -> part: VOC, and SBD or AUG or neither.

    Raises:
      InputError: a list, image or label is missing or wrong.
    """
    voc, sbd, aug = found[VOC.title], found.get(SBD.title), found.get(AUG.title)
    train, val = (voc.ids(f"ImageSets/Segmentation/{name}.txt") for name in ("train", "val"))
    if shared := train & val:
        raise InputError(f"{voc.archive} has {min(shared)!r} in both train.txt and val.txt")
    lists = {"train": sorted(train), "val": sorted(val)}
    labels = _members(voc, "SegmentationClass/{}.png", train | val, _png)
    if sbd is not None:
        extra = (sbd.ids("train.txt") | sbd.ids("val.txt")) - val
        known = {i for i in extra if f"SegmentationClass/{i}.png" in voc.names}
        # Where both have a label, VOC's is the finer one.
        labels |= _members(voc, "SegmentationClass/{}.png", known, _png)
        labels |= _members(sbd, "cls/{}.mat", extra - known, _mat)
    elif aug is not None:
        extra = {path.removesuffix(".png") for path in aug.names} - val
        labels |= _members(aug, "{}.png", extra, _png)
    if sbd is not None or aug is not None:
        lists = {"train_aug": sorted(train | extra), **lists}
    images = _members(voc, "JPEGImages/{}.jpg", set(labels), None)
    return Plan(lists, images, labels)


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
