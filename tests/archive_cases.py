"""Archives of any members, sound or not, and what the reader makes of them."""

import io
import tarfile
import warnings
import zipfile

import pytest

from tf_advseg.data.prepare import archives
from tf_advseg.errors import InputError

PAX, GNU = tarfile.PAX_FORMAT, tarfile.GNU_FORMAT


def is_png(name):
    """Tells what most tests want of an archive."""
    return name.endswith(".png")


def entry(name, content=b"", type_=tarfile.REGTYPE, **fields):
    """Returns a member of a tar file and its content."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), type_
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def write_tar(path, entries, mode="w", **options):
    """Writes a tar file of entries and returns its path."""
    with tarfile.open(path, mode, **options) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content) if content else None)
    return path


def write_zip(path, files, compression=zipfile.ZIP_DEFLATED):
    """Writes a zip file of (name, content) and returns its path."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in files:
            archive.writestr(name, content)
    return path


def write_tgz(path, files, format_=PAX):
    """Writes a packed tar file of (name, content) and returns its path."""
    return write_tar(path, [entry(*file) for file in files], "w:gz", format=format_)


def write_plain(path, files, format_=PAX):
    """Writes a tar file of (name, content) and returns its path."""
    return write_tar(path, [entry(*file) for file in files], format=format_)


WRITERS = {
    "tar": write_plain,
    "gnu tar": lambda path, files: write_plain(path, files, GNU),
    "tgz": write_tgz,
    "gnu tgz": lambda path, files: write_tgz(path, files, GNU),
    "zip": write_zip,
    "stored zip": lambda path, files: write_zip(path, files, zipfile.ZIP_STORED),
}
of_each_kind = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


def read(path, wanted=is_png, **limits):
    """Returns the (name, content) of all that is wanted."""
    return list(archives.read(path, wanted, title="reading", **limits))


def refused(path, match, wanted=is_png, **limits):
    """Checks that an archive is refused in one line that names it."""
    with pytest.raises(InputError, match=match) as caught:
        read(path, wanted, **limits)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
