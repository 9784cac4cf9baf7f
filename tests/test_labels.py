"""Labels as class ids in the cache, and images checked before training."""

import dataclasses
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.folders import grey_png, indexed_label
from tests.made_jpegs import jpeg_of_scans
from tf_advseg.data import catalog, labels
from tf_advseg.data.images import check_images
from tf_advseg.data.labels import classes_in, prepare_labels
from tf_advseg.errors import InputError

ORIENTATION = 0x0112


@pytest.fixture
def dataset(voc_folder):
    """One image, train_0, of 24 x 30 pixels, and 3 classes."""
    return catalog.folder(voc_folder(train=1, val=1, size=(24, 30), num_classes=3))


@pytest.fixture
def ids_in():
    """Prepares the label of train_0 and returns the ids in the cached file, [H, W]."""

    def read(dataset):
        (cached,) = prepare_labels(dataset, ["train_0"])
        with Image.open(cached) as image:
            assert image.mode == "L"
            return np.asarray(image)

    return read


def random_label(count, size=(24, 30)):
    return np.random.default_rng(1).integers(0, count, size).astype(np.uint8)


def with_classes(dataset, count, void_value=255):
    names = tuple(f"c{n}" for n in range(count))
    classes = catalog.Classes("many", names, ((0, 0, 0),) * count, void_value)
    return dataclasses.replace(dataset, classes=classes)


def save_label(dataset, picture, **options):
    picture.save(dataset.label_path("train_0"), "PNG", **options)


def files_of(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indexed_label_is_read_as_indices(bits, dataset, ids_in):
    label = random_label(min(2**bits, 200))
    picture = indexed_label(label, bits)
    save_label(dataset, picture, bits=bits)
    header = dataset.label_path("train_0").read_bytes()[24:26]
    assert tuple(header) == (bits, 3)  # Bit depth, and colour type 3: with a palette.
    colors = np.asarray(picture.convert("L"))
    assert not np.array_equal(colors, label)
    np.testing.assert_array_equal(ids_in(with_classes(dataset, 200)), label)


def grey(label):
    return Image.fromarray(label)


def grey16(label):
    return Image.fromarray(label.astype(np.uint16))


def two_levels(label):
    return Image.fromarray(label.astype(bool))


@pytest.mark.parametrize(("form", "count"), [(grey, 200), (grey16, 200), (two_levels, 2)])
def test_grey_label_is_read_as_it_is(form, count, dataset, ids_in):
    label = random_label(count)
    save_label(dataset, form(label))
    np.testing.assert_array_equal(ids_in(with_classes(dataset, 200)), label)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_label_in_colour_is_refused(mode, dataset):
    save_label(dataset, Image.new(mode, (30, 24)))
    with pytest.raises(InputError, match=f"train_0.png has mode {mode}; allowed: an indexed or"):
        prepare_labels(dataset, ["train_0"])


@pytest.mark.parametrize(
    ("value", "form"), [(3, grey), (254, grey), (700, grey16), (65535, grey16)]
)
def test_unknown_value_is_named(value, form, dataset):
    label = random_label(3).astype(np.uint16 if value > 255 else np.uint8)
    label[5, 6] = value
    save_label(dataset, form(label))
    with pytest.raises(InputError) as caught:
        prepare_labels(dataset, ["train_0"])
    path, allowed = dataset.label_path("train_0"), "allowed: 0 to 2, and 255 for void"
    assert str(caught.value) == f"{path} has the value {value} in 1 pixel; {allowed}"


def test_other_void_value_becomes_255(dataset, ids_in):
    label = random_label(4)  # 3 is void here.
    save_label(dataset, grey(label))
    found = ids_in(with_classes(dataset, 3, void_value=3))
    np.testing.assert_array_equal(found, np.where(label == 3, 255, label))
    # 255 itself is then no allowed value.
    label[0, 0] = 255
    save_label(dataset, grey(label))
    with pytest.raises(InputError, match=r"value 255 in 1 pixel; .* and 3 for void"):
        ids_in(with_classes(dataset, 3, void_value=3))


def test_label_of_another_size_is_named(dataset):
    save_label(dataset, grey(random_label(3, (30, 24))))
    image = dataset.image_path("train_0")
    message = rf"train_0\.png is 24x30, but its image {image} is 30x24"
    with pytest.raises(InputError, match=message):
        prepare_labels(dataset, ["train_0"])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_that_of_the_image_as_shown(orientation, dataset, ids_in):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.new("RGB", (30, 24)).save(dataset.image_path("train_0"), exif=exif)
    shown, other = ((30, 24), (24, 30))[:: 1 if orientation >= 5 else -1]
    assert check_images([dataset.image_path("train_0")]) == [shown]
    save_label(dataset, grey(random_label(3, shown)))
    assert ids_in(dataset).shape == shown
    save_label(dataset, grey(random_label(3, other)))
    with pytest.raises(InputError, match="but its image"):
        ids_in(dataset)


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("kind", ["PNG with EXIF", "JPEG with XMP", "JPEG with damaged EXIF"])
def test_size_is_that_of_the_decoder(kind, tmp_path):
    """Where Pillow sees a rotation that the decoder does not make, the decoder decides."""
    options = {
        "PNG with EXIF": {"format": "PNG", "exif": b"Exif\0\0" + tiff_with_orientation(6)},
        "JPEG with XMP": {"format": "JPEG", "xmp": XMP},
        "JPEG with damaged EXIF": {"format": "JPEG", "exif": b"Exif\0\0MM\0*\0\0"},
    }[kind]
    path = tmp_path / "image"
    Image.new("RGB", (30, 24)).save(path, **options)
    assert check_images([path]) == [(24, 30)]


def tiff_with_orientation(orientation):
    entry = struct.pack(">HHIHH", ORIENTATION, 3, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)


def picture_bytes(kind):
    noise = np.random.default_rng(0).integers(0, 256, (24, 30, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


BROKEN = {
    "truncated JPEG": lambda: picture_bytes("JPEG")[:-100],
    "truncated PNG": lambda: picture_bytes("PNG")[:-300],
    "text": lambda: b"this is no picture\n",
    "nothing": lambda: b"",
    "one byte": lambda: b"\xff",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_image_is_named(kind, dataset):
    path = dataset.image_path("train_0")
    path.write_bytes(BROKEN[kind]())
    message = r"JPEGImages/train_0\.jpg is (no image|empty|damaged or cut off)$"
    with pytest.raises(InputError, match=message):
        check_images([path])
    with pytest.raises(InputError, match=message):
        prepare_labels(dataset, ["train_0"])


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_label_is_named(kind, dataset):
    path = dataset.label_path("train_0")
    path.write_bytes(BROKEN[kind]())
    if "truncated" in kind:
        save_label(dataset, grey(random_label(3)))
        path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"train_0\.png is (no image|empty|damaged or cut off)$"):
        prepare_labels(dataset, ["train_0"])


def test_label_that_is_a_program_is_not_run(dataset, monkeypatch):
    lines = ("%!PS-Adobe-3.0 EPSF-3.0", "%%BoundingBox: 0 0 64 48", "%%EndComments", "x")
    path = dataset.label_path("train_0")
    path.write_text("\n".join((*lines, "%ImageData: 64 48 8 1 0 1 1 x", "%%EOF", "")))
    with Image.open(path) as image:
        assert image.mode == "L"  # As a grey label has it.
    called = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args: called.append(args))
    with pytest.raises(InputError, match=r"train_0\.png is a EPS file; allowed: PNG"):
        prepare_labels(dataset, ["train_0"])
    assert not called


@pytest.mark.parametrize("side", [13_400, 2**31 - 1])
def test_image_and_label_of_more_pixels_than_any_memory_are_refused(side, dataset):
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    # Behind the header there is nothing, so that decoding would fail otherwise.
    content = b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"
    dataset.image_path("train_0").write_bytes(content)
    with pytest.raises(InputError, match=r"train_0\.jpg"):
        check_images([dataset.image_path("train_0")])
    dataset.label_path("train_0").write_bytes(content)
    with pytest.raises(InputError, match=r"train_0\.png"):
        prepare_labels(dataset, ["train_0"])


@pytest.mark.parametrize("end", [b"", b" "])
def test_jpeg_of_scans_without_end_is_not_decoded(end, tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(jpeg_of_scans(100_000, 4000, 4000) + end)
    if not end:
        # Its header and end are right: the graph's decoder refuses it.
        assert check_images([path]) == [(4000, 4000)]
    else:
        with pytest.raises(InputError, match=r"image\.jpg is a JPEG of 100000 scans; allowed: 500"):
            check_images([path])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF"])
def test_image_of_a_format_that_cannot_be_decoded_is_refused(kind, tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(picture_bytes(kind))
    with pytest.raises(InputError, match=rf"image\.jpg is a {kind} file; allowed: JPEG, PNG"):
        check_images([path])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_after_a_whole_picture_are_harmless(kind, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(picture_bytes(kind) + b"\0\0 a camera's notes")
    assert check_images([path, path]) == [(24, 30)] * 2


def test_whole_png_is_not_decoded(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    path.write_bytes(picture_bytes("PNG"))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", None)
    assert check_images([path]) == [(24, 30)]


def test_missing_files_are_named(dataset):
    dataset.label_path("train_0").unlink()
    with pytest.raises(InputError, match=r"no label .*train_0\.png for the listed id 'train_0'"):
        prepare_labels(dataset, ["train_0"])
    dataset.image_path("train_0").unlink()
    with pytest.raises(InputError, match=r"no image .*train_0\.jpg"):
        prepare_labels(dataset, ["train_0"])


def test_cache_is_reused(dataset, cache_folder):
    first = prepare_labels(dataset, ["train_0", "val_0"])
    assert all(path.is_relative_to(cache_folder) for path in first)
    assert len(set(first)) == 2
    before = files_of(cache_folder)
    assert set(before) == set(first)  # And nothing else, such as half-written files.
    assert prepare_labels(dataset, ["train_0", "val_0"]) == first
    assert files_of(cache_folder) == before


def test_cache_is_shared_by_machines_that_write_at_once(dataset, cache_folder, monkeypatch):
    """In containers all have the process id 1, as both have one here."""
    save, others = Image.Image.save, []

    def save_while_another_does(*args, **options):
        save(*args, **options)
        if not others:
            others.append("writing")
            others[0] = prepare_labels(dataset, ["train_0"])

    monkeypatch.setattr(Image.Image, "save", save_while_another_does)
    own = prepare_labels(dataset, ["train_0"])
    assert others == [own]
    assert set(files_of(cache_folder)) == set(own)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664)])
def test_cached_label_can_be_read_by_whom_the_umask_lets(dataset, umask, mode):
    before = os.umask(umask)
    try:
        (cached,) = prepare_labels(dataset, ["train_0"])
    finally:
        os.umask(before)
    assert cached.stat().st_mode & 0o777 == mode


def test_cache_follows_a_changed_label(dataset, ids_in):
    ids_in(dataset)
    path = dataset.label_path("train_0")
    then = path.stat().st_mtime_ns
    label = random_label(3)
    save_label(dataset, grey(label))
    os.utime(path, ns=(then + 10**9, then + 10**9))
    np.testing.assert_array_equal(ids_in(dataset), label)


def test_cache_follows_the_classes(dataset, ids_in):
    label = random_label(3)
    save_label(dataset, grey(label))
    np.testing.assert_array_equal(ids_in(dataset), label)
    found = ids_in(with_classes(dataset, 2, void_value=2))
    np.testing.assert_array_equal(found, np.where(label == 2, 255, label))
    with pytest.raises(InputError, match="has the value 2"):
        ids_in(with_classes(dataset, 2))


def test_labels_of_one_name_in_two_folders_are_kept_apart(voc_folder, ids_in):
    for value, name in enumerate("ab"):
        dataset = catalog.folder(voc_folder(name))
        save_label(dataset, grey(np.full((48, 64), value, np.uint8)))
        path = dataset.label_path("train_0")
        # Size and time do not tell them apart.
        path.write_bytes(path.read_bytes().ljust(200, b"\0"))
        os.utime(path, ns=(10**18, 10**18))
        assert (ids_in(dataset) == value).all()


def test_nothing_is_written_into_the_data_folder(dataset):
    before = files_of(dataset.folder)
    prepare_labels(dataset, ["train_0", "val_0"])
    check_images([dataset.image_path("train_0")])
    assert files_of(dataset.folder) == before


def test_classes_in_a_label_are_noted_without_void(dataset):
    label = np.full((24, 30), 255, np.uint8)
    save_label(dataset, grey(label))
    assert classes_in(prepare_labels(dataset, ["train_0"])[0]) == set()
    label[3, 4], label[5, 6] = 2, 0
    save_label(dataset, grey(label))
    os.utime(dataset.label_path("train_0"), ns=(10**18, 10**18))
    assert classes_in(prepare_labels(dataset, ["train_0"])[0]) == {0, 2}


def test_order_is_that_of_the_ids(voc_folder):
    dataset = catalog.folder(voc_folder(train=12))
    ids = [f"train_{n}" for n in reversed(range(12))]
    for image_id, cached in zip(ids, prepare_labels(dataset, ids)):
        with Image.open(dataset.label_path(image_id)) as label, Image.open(cached) as found:
            np.testing.assert_array_equal(np.asarray(found), np.asarray(label))


def test_cache_that_cannot_be_made_is_told_with_its_variable(dataset, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv(labels.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(InputError, match="set TF_ADVSEG_CACHE to a folder that can be written"):
        prepare_labels(dataset, ["train_0"])


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_label_of_few_bits_keeps_its_values(tmp_path, bits):
    values = np.arange(4, dtype=np.uint8).reshape(2, 2)
    path = tmp_path / "label.png"
    path.write_bytes(grey_png(values, bits))
    classes = catalog.Classes("c", tuple("abcd"), ((0, 0, 0),) * 4)
    np.testing.assert_array_equal(labels._read_label(path, classes), values)


def test_damaged_cached_label_is_made_anew(dataset, ids_in):
    (cached,) = prepare_labels(dataset, ["train_0"])
    expected = ids_in(dataset)
    cached.write_bytes(b"")
    np.testing.assert_array_equal(ids_in(dataset), expected)
