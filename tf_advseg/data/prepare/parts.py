"""Which archive is which: told by the names of its members, and proved by its checksum."""

import dataclasses
import functools
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tf_advseg.data.prepare import archives, download
from tf_advseg.errors import InputError

_MAX_LIST = 2**20  # Bytes of a list of ids.
_MAX_FILE = 2**25  # Bytes of an image or label; the largest of Cityscapes have 3 MB.


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the archives that a data set is made of.

    Attributes:
      title: what it holds, in words.
      folder: that its members are in.
      members: pattern of what is read of that folder.
      file_name: of the official archive.
      where: how to get that, in words.
      digest: of it, "algorithm:hex"; None if its publisher does not say.
      url: where it is downloaded, if it has a digest; None if a user must bring it.
      size: of it in bytes; None if its publisher does not say.
      download_bytes: about how large it is, if it can be downloaded.
    """

    title: str
    folder: str
    members: str
    file_name: str
    where: str
    digest: str | None = None
    url: str | None = None
    size: int | None = None
    download_bytes: int = 0

    def inside(self, path: str) -> str | None:
        """Returns the part of a member's path after `folder`; None if it is nothing of ours.

        There may be folders above, as where an archive was extracted. What macOS adds is not ours.
        """
        found = self._pattern.search(path)
        return found[1] if found and "__MACOSX/" not in path else None

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(rf"(?:^|/){re.escape(self.folder)}/({self.members})$", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Found:
    """A part, found in an archive or folder.

    Attributes:
      part: which.
      archive: where.
      names: path inside the part -> name of the archive's member.
      lists: path inside the part -> content, of its lists of ids.
      downloaded: whether the archive comes from its publisher, and so is the official one.
    """

    part: Part
    archive: Path
    names: Mapping[str, str]
    lists: Mapping[str, bytes]
    downloaded: bool = False

    def read(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
        """Yields (path inside the part, content) of what is wanted, in the archive's order.

        Raises:
          InputError: the archive is damaged.
        """
        inside = {name: path for path, name in self.names.items() if wanted(path)}
        title = f"reading {self.archive.name}"
        members = archives.read(self.archive, inside.__contains__, title=title, max_file=_MAX_FILE)
        for name, content in members:
            yield inside[name], content

    @property
    def size(self) -> int:
        """Bytes of the archive; of a folder, of the part's files in it."""
        if self.archive.is_dir():
            return sum(self.sizes().values())
        return self.archive.stat().st_size

    def sizes(self) -> dict[str, int]:
        """Returns path inside the part -> bytes, where the archive is a folder."""
        return {path: (self.archive / n).stat().st_size for path, n in self.names.items()}

    def ids(self, path: str) -> set[str]:
        """Returns the ids in a list of the part, one on each line that is not blank.

        Raises:
          InputError: there is no such list, or it has something else in it.
        """
        name = f"{self.archive}: {self.part.folder}/{path}"
        if path not in self.lists:
            raise InputError(f"{name} is missing")
        try:
            lines = self.lists[path].decode("ascii").splitlines()
        except UnicodeDecodeError:
            raise InputError(f"{name} is no ASCII text") from None
        ids = [line.strip() for line in lines if line.strip()]
        for image_id in ids:
            if not re.fullmatch(r"[\w-]{1,64}", image_id, re.ASCII):
                raise InputError(
                    f"{name} has {image_id[:64]!r}; allowed: an id of letters, digits, _ and -"
                )
        if not ids or len(set(ids)) < len(ids):
            raise InputError(f"{name} is empty or names an id twice")
        return set(ids)


def find(archive: Path, parts: Sequence[Part]) -> list[Found]:
    """Returns the parts that an archive or folder holds.

    Raises:
      InputError: it holds none of them, is damaged, or holds a member twice.
    """
    names: dict[str, dict[str, str]] = {part.title: {} for part in parts}
    lists: dict[str, dict[str, bytes]] = {part.title: {} for part in parts}
    places: dict[str, tuple[str, str]] = {}
    # A folder's own name may be the one that tells: leftImg8bit, or VOCdevkit/VOC2012.
    above = f"{archive.resolve().as_posix()}/" if archive.is_dir() else ""

    def is_list(name: str) -> bool:
        for part in parts:
            inside = part.inside(above + name)
            if inside is None:
                continue
            if inside in names[part.title]:
                raise InputError(f"{archive} has {part.folder}/{inside} twice; allowed: once")
            names[part.title][inside] = name
            places[name] = part.title, inside
            return inside.endswith(".txt")
        return False

    title = f"looking into {archive.name}"
    for name, content in archives.read(archive, is_list, title=title, max_file=_MAX_LIST):
        title, inside = places[name]
        lists[title][inside] = content
    found = [
        Found(part, archive, names[part.title], lists[part.title])
        for part in parts
        if names[part.title]
    ]
    if not found:
        known = "; ".join(f"{part.file_name} (with {part.folder}/)" for part in parts)
        raise InputError(f"--archive {archive} holds nothing that is known; allowed: {known}")
    return found


def fetched(part: Part, folder: Path) -> Found:
    """Returns a part that is downloaded into a folder, unless it is there.

    Args:
      part: with a URL, and so with a digest.
      folder: where its archive is kept.

    Raises:
      InputError: it cannot be downloaded.
    """
    archive = folder / part.file_name
    download.fetch(part.url, archive, part.digest, part.size)
    return dataclasses.replace(find(archive, (part,))[0], downloaded=True)


def digest(found: Found, *, allow_other: bool) -> str:
    """Returns what identifies the content of a part's archive: "algorithm:hex".

    Args:
      found: the part.
      allow_other: whether an archive without the official checksum is only warned of.

    Raises:
      InputError: it is another archive than the official one.
    """
    part, archive = found.part, found.archive
    if found.downloaded and part.digest:
        return part.digest
    own = _own_digest(found)
    if part.digest in (None, own):
        return own
    what = (
        "has another checksum than" if archive.is_file() else "is a folder, without checksum, not"
    )
    message = f"{archive} {what} the official {part.file_name}"
    if not allow_other:
        official = f"the one from {part.url}" if part.url else "that one"
        raise InputError(f"{message}; allowed: {official}, or --allow_other_archive")
    print(f"warning: {message}", file=sys.stderr)
    return own


def _own_digest(found: Found) -> str:
    """Returns the digest of a file; in a folder, that of its members' names and sizes."""
    if found.archive.is_dir():
        listed = repr(sorted(found.sizes().items()))
        return f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"
    official = found.part.digest or "sha256:"
    return download.digest(found.archive, official.partition(":")[0])
