"""Miniatures of published data sets, in the archives and formats of their publishers."""

import dataclasses
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse
from PIL import Image

from tests.runs import call
from tf_advseg.data.prepare import voc2012

VOID = 255
SIZE = (40, 56)  # Height and width.

#: The command, for `tests.runs.call` and `fails_with`.
PREPARE = "tf_advseg.data.prepare.__main__"


def prepare(*args: object) -> int:
    """Runs the command in this process and returns its exit code."""
    return call(PREPARE, *args)


def label(*values: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Returns uint8 [H, W]: one stripe for each value, from left to right, of equal widths."""
    columns = np.arange(size[1]) * len(values) // size[1]
    return np.tile(np.array(values, np.uint8)[columns], (size[0], 1))


def picture(number: int, kind: str, size: tuple[int, int] = SIZE) -> bytes:
    """Returns an image file of its own for each number; `kind` is JPEG or PNG."""
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
    return encoded(Image.fromarray(pixels), kind)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """Returns the content of an image file."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def voc_palette() -> list[int]:
    """Returns VOC's 256 colours, by the words of VOCdevkit's VOClabelcolormap."""
    colors = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(8):
            colors[index, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return colors.ravel().tolist()


def indexed(values: np.ndarray) -> bytes:
    """Returns a label file as VOC has it."""
    image = Image.fromarray(values)
    image.putpalette(voc_palette())
    return encoded(image)


def grey(values: np.ndarray) -> bytes:
    """Returns a label file as SegmentationClassAug.zip and Cityscapes have it."""
    return encoded(Image.fromarray(values))


def mat(values: np.ndarray) -> bytes:
    """Returns a label file as SBD has it: GTcls with three fields, one of sparse matrices."""
    boundaries = np.empty((20, 1), object)
    for index in range(20):
        boundaries[index, 0] = scipy.sparse.csc_matrix(values == index + 1)
    present = np.array([[v] for v in np.unique(values) if v], np.uint8)
    fields = {"Boundaries": boundaries, "Segmentation": values, "CategoriesPresent": present}
    return matlab({"GTcls": fields})


def matlab(variables: Mapping[str, object]) -> bytes:
    """Returns a Matlab 5 file."""
    file = io.BytesIO()
    scipy.io.savemat(file, dict(variables), do_compression=True)
    # The header holds the time, which would be another in each process.
    return b"MATLAB 5.0 MAT-file".ljust(116) + file.getvalue()[116:]


def tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """Writes a tar file; with mode "w:gz" a packed one."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    """Writes a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def extracted(folder: Path, members: Mapping[str, bytes]) -> Path:
    """Writes the members as files of a folder."""
    for name, content in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def list_text(ids: Sequence[str]) -> bytes:
    """Returns a list of ids, one a line."""
    return "".join(f"{image_id}\n" for image_id in ids).encode()


@dataclasses.dataclass
class Voc:
    """What the miniature of VOC and SBD holds; a test may change it before it is written.

    train_aug is TRAIN and the two that only SBD has. Each label says by its classes where it is
    from: VOC's have 1 to 5, SBD's 11 to 15, the merged ones 16 to 19.
    """

    train: tuple[str, ...] = ("2007_000032", "2008_000008", "2007_000039")
    val: tuple[str, ...] = ("2007_000033", "2007_000042")
    sbd_train: tuple[str, ...] = ("2008_000002", "2008_000008")
    sbd_val: tuple[str, ...] = ("2009_000001", "2007_000033")
    #: In none of the lists.
    other: tuple[str, ...] = ("2012_004331",)

    def __post_init__(self):
        everything = sorted({*self.train, *self.val, *self.sbd_train, *self.sbd_val, *self.other})
        self.images = {image_id: picture(n, "JPEG") for n, image_id in enumerate(everything)}
        own = (*self.train, *self.val)
        self.voc_labels = {i: indexed(label(0, n, VOID)) for n, i in enumerate(own, 1)}
        of_sbd = sorted({*self.sbd_train, *self.sbd_val})
        self.sbd_labels = {i: mat(label(0, n)) for n, i in enumerate(of_sbd, 11)}
        merged = sorted({*self.train, *self.val, *of_sbd})
        self.aug_labels = {i: grey(label(0, 16 + n % 4, VOID)) for n, i in enumerate(merged)}

    def voc_members(self) -> dict[str, bytes]:
        """Returns what VOCtrainval_11-May-2012.tar holds."""
        top, lists = "VOCdevkit/VOC2012", "VOCdevkit/VOC2012/ImageSets/Segmentation"
        return {
            f"{top}/Annotations/2007_000027.xml": b"<annotation/>",
            f"{lists}/train.txt": list_text(self.train),
            f"{lists}/trainval.txt": list_text((*self.train, *self.val)),
            f"{lists}/val.txt": list_text(self.val),
            **{f"{top}/JPEGImages/{i}.jpg": content for i, content in self.images.items()},
            **{f"{top}/SegmentationClass/{i}.png": c for i, c in self.voc_labels.items()},
            **{f"{top}/SegmentationObject/{i}.png": c for i, c in self.voc_labels.items()},
        }

    def sbd_members(self) -> dict[str, bytes]:
        """Returns what benchmark.tgz holds."""
        top = "benchmark_RELEASE/dataset"
        return {
            "benchmark_RELEASE/BharathICCV2011.pdf": b"%PDF",
            **{f"{top}/cls/{i}.mat": content for i, content in self.sbd_labels.items()},
            **{f"{top}/inst/{i}.mat": content for i, content in self.sbd_labels.items()},
            **{f"{top}/img/{i}.jpg": self.images[i] for i in self.sbd_labels},
            f"{top}/train.txt": list_text(self.sbd_train),
            f"{top}/val.txt": list_text(self.sbd_val),
        }

    def voc(self, folder: Path) -> Path:
        """Writes VOC's archive."""
        return tar(folder / "VOCtrainval_11-May-2012.tar", self.voc_members())

    def sbd(self, folder: Path) -> Path:
        """Writes SBD's archive."""
        return tar(folder / "benchmark.tgz", self.sbd_members(), "w:gz")

    def aug(self, folder: Path) -> Path:
        """Writes the archive of merged labels, with what macOS puts into it."""
        labels = self.aug_labels.items()
        return zipped(
            folder / "SegmentationClassAug.zip",
            {
                **{f"SegmentationClassAug/{i}.png": content for i, content in labels},
                **{f"__MACOSX/SegmentationClassAug/._{i}.png": b"junk" for i, _ in labels},
                **{f"__MACOSX/SegmentationClassAug/{i}.png": b"junk" for i, _ in labels},
            },
        )

    def both(self, folder: Path) -> tuple[object, ...]:
        """Writes VOC's and SBD's archives and returns the flags for them."""
        archives = "--archive", self.voc(folder), "--archive", self.sbd(folder)
        return (*archives, "--allow_other_archive")


@dataclasses.dataclass
class Cityscapes:
    """What the miniature of Cityscapes holds: four training images, two for validation."""

    train: tuple[str, ...] = (
        "aachen_000000_000019",
        "aachen_000001_000019",
        "ulm_000000_000019",
        "zurich_000121_000019",
    )
    val: tuple[str, ...] = ("frankfurt_000000_000294", "munster_000173_000019")

    def __post_init__(self):
        ids = [("train", i) for i in self.train] + [("val", i) for i in self.val]
        paths = [f"{split}/{i.split('_')[0]}/{i}" for split, i in ids]
        # The first label has every id that there is.
        stripes = [range(34), (7, 0), (11, 8), (23, 4), (26, 33), (7, 21)]
        size = (40, 68)
        self.images = {p: picture(n, "PNG", size) for n, p in enumerate(paths)}
        self.labels = {p: grey(label(*v, size=size)) for p, v in zip(paths, stripes)}

    def image_members(self) -> dict[str, bytes]:
        """Returns what leftImg8bit_trainvaltest.zip holds."""
        images = {f"leftImg8bit/{p}_leftImg8bit.png": c for p, c in self.images.items()}
        test = "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png"
        return {"README": b"", "license.txt": b"", **images, test: b"of the test images"}

    def label_members(self) -> dict[str, bytes]:
        """Returns what gtFine_trainvaltest.zip holds."""
        members = {"README": b""}
        for path, content in self.labels.items():
            members[f"gtFine/{path}_gtFine_color.png"] = b"colours"
            members[f"gtFine/{path}_gtFine_instanceIds.png"] = b"instances"
            members[f"gtFine/{path}_gtFine_labelIds.png"] = content
            members[f"gtFine/{path}_gtFine_polygons.json"] = b"{}"
        test = "gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png"
        return {**members, test: b"of the test images"}

    def both(self, folder: Path) -> tuple[object, ...]:
        """Writes both archives and returns the flags for them."""
        images = zipped(folder / "leftImg8bit_trainvaltest.zip", self.image_members())
        labels = zipped(folder / "gtFine_trainvaltest.zip", self.label_members())
        return "--archive", images, "--archive", labels, "--allow_other_archive"


def official_digest(path: Path, algorithm: str) -> str:
    """Stands in for `download.digest`: whatever the archive, it is VOC's or SBD's official one."""
    return {"sha256": voc2012.VOC.digest, "md5": voc2012.SBD.digest}[algorithm]


def content_of(folder: Path) -> dict[str, bytes]:
    """Returns path in the folder -> content of each file in it."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}
