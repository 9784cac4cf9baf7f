"""Label files of archives: what is read of them, and what is refused."""

import contextlib
import functools
import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io
from PIL import Image

from tests.archives_made import (
    PREPARE,
    SIZE,
    VOID,
    Voc,
    encoded,
    grey,
    indexed,
    label,
    mat,
    matlab,
    picture,
    voc_palette,
)
from tests.runs import fails_with
from tf_advseg.data.classes import VOC2012
from tf_advseg.data.prepare import label_files, sbd
from tf_advseg.errors import InputError


@pytest.fixture
def fails(capsys):
    """As `tests.runs.fails_with`, for the command."""
    return functools.partial(fails_with, capsys, PREPARE, "voc2012")


def colored(values, mode):
    """Returns a label file in colours."""
    return encoded(Image.open(io.BytesIO(indexed(values))).convert(mode))


def sorted_anew(values):
    """Returns a label file with another order of its palette, as programs that shrink files do."""
    present = np.unique(values)[::-1]  # Falling.
    image = Image.fromarray(
        (len(present) - 1 - np.searchsorted(present[::-1], values)).astype("u1")
    )
    image.putpalette(np.array(voc_palette()).reshape(-1, 3)[present].ravel().tolist())
    return encoded(image)


def grey_palette(values):
    """Returns an indexed label file in which each index has a grey of its own."""
    image = Image.fromarray(values)
    image.putpalette(np.repeat(np.arange(256), 3).tolist())
    return encoded(image)


@pytest.mark.parametrize(
    "form",
    [
        indexed,
        functools.partial(colored, mode="RGB"),
        functools.partial(colored, mode="RGBA"),
        grey,
        grey_palette,
        sorted_anew,
    ],
    ids=["indexed", "RGB", "RGBA", "grey", "grey palette", "sorted anew"],
)
def test_forms_of_a_label_give_the_same_file(form):
    values = label(0, 20, VOID, 7, 1)
    read_back = label_files.read_voc_png(form(values), VOC2012, "x.png")
    np.testing.assert_array_equal(read_back, values)
    assert label_files.to_png(read_back, VOC2012) == label_files.to_png(values, VOC2012)


def test_written_label_has_indices_and_colors():
    values = label(0, 3, VOID)
    with Image.open(io.BytesIO(label_files.to_png(values, VOC2012))) as image:
        assert (image.mode, image.format) == ("P", "PNG")
        np.testing.assert_array_equal(np.array(image), values)
        assert [image.convert("RGB").getpixel((x, 5)) for x in (0, 20, 55)] == [
            (0, 0, 0),
            (128, 128, 0),
            (224, 224, 192),
        ]


def painted(color):
    """A label in colours with one pixel that is no class's."""
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[3, 4] = color
    return encoded(Image.fromarray(pixels))


#: What is wrong -> file, and what the error says.
WRONG_PNG = {
    "value": (indexed(label(0, 21)), "has the value 21; allowed: 0-20, 255"),
    "grey value": (grey(label(0, 254)), "has the value 254"),
    "colour": (painted((1, 2, 3)), "has the colour (1, 2, 3)"),
    "one bit": (encoded(Image.new("1", SIZE)), "mode 1 and 1 bits"),
    "16 bits": (encoded(Image.new("I;16", SIZE)), "mode I;16 and 16 bits"),
    "grey and alpha": (encoded(Image.new("LA", SIZE)), "mode LA"),
    "JPEG": (picture(0, "JPEG"), "is no PNG"),
    "cut off": (indexed(label(0, 1))[:-40], "cut off"),
    "empty": (b"", "is no PNG"),
    "huge": (grey(np.zeros((4097, 4096), np.uint8)), "is 4096x4097; allowed: 16777216 pixels"),
}


@pytest.mark.parametrize("wrong", WRONG_PNG)
def test_wrong_label_of_voc(wrong, tmp_path, fails):
    voc, folder = Voc(), tmp_path / "D"
    voc.voc_labels["2007_000039"], says = WRONG_PNG[wrong]
    where = "VOCtrainval_11-May-2012.tar", "SegmentationClass/2007_000039.png"
    fails("--data_dir", folder, *voc.both(tmp_path), says=(*where, says))
    assert not (folder / "ImageSets").exists(), "it looks finished"


def test_grey_of_four_bits_is_refused():
    # Pillow stretches its values: class 3 would be read as 51.
    packed = np.zeros((8, 4), np.uint8)
    header = struct.pack(">IIBBBBB", 8, 8, 4, 0, 0, 0, 0)
    content = png(header, b"".join(b"\0" + row.tobytes() for row in packed))
    with pytest.raises(InputError, match="mode L and 4 bits"):
        label_files.read_voc_png(content, VOC2012, "x.png")


def png(header, rows):
    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def in_structure(values):
    return matlab({"GTcls": {"Segmentation": values}})


#: What is wrong -> file, and what the error says.
WRONG_MAT = {
    "value": (mat(label(0, 21)), "has the value 21; allowed: 0-20"),
    "void": (mat(label(0, VOID)), "has the value 255; allowed: 0-20"),
    "structure": (matlab({"GTinst": {"Segmentation": label(0)}}), "has no GTcls.Segmentation"),
    "field": (matlab({"GTcls": {"Boundaries": label(0)}}), "has no GTcls.Segmentation"),
    "no structure": (matlab({"GTcls": label(0)}), "has no GTcls.Segmentation"),
    "type": (
        in_structure(label(0).astype(np.int16)),
        "of Matlab's class 10 with dimensions (40, 56); allowed: class 9 (uint8)",
    ),
    "form": (in_structure(label(0)[None]), "class 9 with dimensions (1, 40, 56)"),
    "text": (in_structure("text"), "of Matlab's class 4"),
    "no values": (in_structure(label(0)[:0]), "dimensions (0, 56); allowed: 1 to 16777216 values"),
    "many values": (in_structure(np.zeros((4097, 4096), np.uint8)), "dimensions (4097, 4096)"),
    "bomb": (in_structure(np.zeros((6000, 6000), np.uint8)), "unpacks to more than the 33554432"),
    "cut off": (mat(label(0, 3))[:300], "damaged"),
    "cut off early": (mat(label(0, 3))[:130], "damaged"),
    "cut off header": (mat(label(0, 3))[:60], "is no Matlab 5 file"),
    "Matlab 7.3": (b"MATLAB 7.3 MAT-file".ljust(512), "is no Matlab 5 file"),
}


@pytest.mark.parametrize("wrong", WRONG_MAT)
def test_wrong_label_of_sbd(wrong, tmp_path, fails):
    voc, folder = Voc(), tmp_path / "D"
    voc.sbd_labels["2009_000001"], says = WRONG_MAT[wrong]
    where = "benchmark.tgz", "cls/2009_000001.mat"
    fails("--data_dir", folder, *voc.both(tmp_path), says=(*where, says))
    assert not (folder / "ImageSets").exists(), "it looks finished"


@pytest.mark.parametrize("do_compression", [False, True])
def test_mat_packed_or_not(do_compression):
    file = io.BytesIO()
    fields = {"GTcls": {"Segmentation": label(0, 9)}}
    scipy.io.savemat(file, fields, do_compression=do_compression)
    np.testing.assert_array_equal(sbd.read_mat(file.getvalue(), "x.mat"), label(0, 9))


def unpacked(content):
    """Returns a Matlab file of one packed variable as one that is not packed."""
    return content[:128] + zlib.decompress(content[136:])


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        # The values: 2 is uint8, 1 is int8. And the whole: 14 is an array, of one byte too many.
        (
            lambda plain: struct.pack("<2I", 2, 40 * 56),
            lambda plain: struct.pack("<2I", 1, 40 * 56),
        ),
        (lambda plain: plain[128:136], lambda plain: struct.pack("<2I", 14, len(plain) - 135)),
    ],
)
def test_elements_of_another_kind_or_size(was, becomes):
    plain = unpacked(mat(label(0, 9)))
    assert plain.count(was(plain)) == 1
    np.testing.assert_array_equal(sbd.read_mat(plain, "x.mat"), label(0, 9))
    with pytest.raises(InputError, match="is damaged or cut off"):
        sbd.read_mat(plain.replace(was(plain), becomes(plain)), "x.mat")


def test_any_damage_of_a_mat_is_an_input_error():
    content = mat(label(0, 9, 3))
    rng = np.random.default_rng(0)
    plain = bytearray(unpacked(content))
    read = 0
    for _ in range(300):
        damaged = bytearray(plain)
        damaged[rng.integers(128, 400)] = rng.integers(256)
        with contextlib.suppress(InputError):
            read += sbd.read_mat(bytes(damaged), "x.mat").shape == SIZE
    assert 0 < read < 300
