"""The steps that prepare any data set: archives found, files written, lists last."""

import dataclasses
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tf_advseg.data.classes import Classes
from tf_advseg.data.images import image_size, in_threads, size_problem
from tf_advseg.data.prepare import layout, parts
from tf_advseg.data.prepare.layout import IMAGES, LABELS, LISTS, Folder, Manifest, Origin
from tf_advseg.data.prepare.parts import Found, Part
from tf_advseg.data.prepare.settings import Settings
from tf_advseg.data.prepare.sizes import in_words
from tf_advseg.errors import InputError

Convert = Callable[[bytes, str], bytes]


@dataclasses.dataclass(frozen=True)
class Published:
    """A data set as it is published.

    Attributes:
      classes: of it; their name is the data set's.
      known: parts that an archive may be told as.
      needed: those of them that are wanted.
      counts: list -> number of its ids.
      image_suffix: of the image files.
      image_bytes, label_bytes: mean size of a file, by which the room on the disk is checked.
      choices: flags that change what is prepared.
      train_flags: of train.py, beside those that every data set needs.
    """

    classes: Classes
    known: tuple[Part, ...]
    needed: tuple[Part, ...]
    counts: Mapping[str, int]
    image_suffix: str
    image_bytes: int
    label_bytes: int
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    train_flags: str = ""


@dataclasses.dataclass(frozen=True)
class Member:
    """What a file is made from.

    Attributes:
      found: the part of the data set.
      path: in it.
      convert: (content, name for errors) -> content of the file; None to leave it as it is.
    """

    found: Found
    path: str
    convert: Convert | None = None

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"{self.found.archive}: {self.found.names[self.path]}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be in the folder.

    Attributes:
      lists: list -> its ids.
      images, labels: id -> what it is made from.
    """

    lists: Mapping[str, Sequence[str]]
    images: Mapping[str, Member]
    labels: Mapping[str, Member]

    def files(self, published: Published) -> dict[str, Member]:
        """Returns path in the folder -> what it is made from."""
        images = {f"{IMAGES}/{i}{published.image_suffix}": m for i, m in self.images.items()}
        return {**images, **{f"{LABELS}/{i}.png": m for i, m in self.labels.items()}}


def prepare(
    settings: Settings,
    published: Published,
    planned: Callable[[Mapping[str, Found]], Plan],
    *,
    download: bool = False,
) -> None:
    """Prepares a data set, or goes on with it, and says what train.py is to be called with.

    Args:
      settings: the flags.
      published: the data set.
      planned: title of each needed part -> what is to be in the folder.
      download: whether an archive that is not given is fetched. Without, it is fetched if none is
        given and the folder is new, or if it was fetched when the folder was begun.

    Raises:
      InputError: an archive or the folder is not what is allowed.
    """
    with layout.opened(settings.folder) as folder:
        begun = layout.stored_manifest(folder)
        if begun:
            begun.check_same(folder, published.classes.name, published.choices)
            if begun.is_finished(folder, published.classes):
                _check_sizes(folder, begun, settings.archives)
                print(f"{folder.path} is finished")
                _tell(folder, published, begun.lists)
                return
        found = _gather(settings, published, folder, begun, download)
        origins = _origins(found, allow_other=settings.allow_other_archive)
        if begun:
            begun.check_same_archives(folder, origins)
        plan = planned({each.part.title: each for each in found})
        _check_counts(plan, published, settings.allow_other_archive)
        _fill(folder, published, plan, begun or _manifest(published, plan, origins))
        _tell(folder, published, {name: len(ids) for name, ids in plan.lists.items()})


def _check_sizes(folder: Folder, begun: Manifest, archives: Sequence[Path]) -> None:
    """Raises InputError for an archive file that a finished folder is not from, by its size."""
    known = {origin.size for origin in begun.archives}
    for archive in archives:
        if archive.is_file() and archive.stat().st_size not in known:
            raise layout.other_archive(folder, archive.name)


def _gather(
    settings: Settings,
    published: Published,
    folder: Folder,
    begun: Manifest | None,
    download: bool,
) -> list[Found]:
    """Returns the needed parts, in their order: of the archives given, and downloaded."""
    found = _given(settings.archives, published)
    missing = [part for part in published.needed if part.title not in found]
    for part in missing:
        if begun:
            as_before = begun.was_downloaded(folder, part.title, part.digest)
        else:
            as_before = not settings.archives
        if part.url is None or not (download or as_before):
            raise InputError(f"{part.file_name} ({part.title}) is missing; {part.where}")
    if missing:
        folder.check_space(_bytes_to_come(missing, published, folder))
    for part in missing:
        found[part.title] = parts.fetched(part, folder.archives)
    return [found[part.title] for part in published.needed]


def _given(archives: Sequence[Path], published: Published) -> dict[str, Found]:
    """Returns title -> part of what the archives hold and is needed."""
    found: dict[str, Found] = {}
    for archive in archives:
        for each in _needed_in(archive, published):
            title = each.part.title
            if title in found:
                raise InputError(
                    f"--archive {archive} holds {title}, and so does {found[title].archive}; "
                    "allowed: one of them"
                )
            found[title] = each
    return found


def _needed_in(archive: Path, published: Published) -> list[Found]:
    """Returns the needed parts that an archive holds; there must be one."""
    found = parts.find(archive, published.known)
    needed = [each for each in found if each.part in published.needed]
    if not needed:
        choices = " ".join(f"--{key} {value}" for key, value in published.choices.items())
        raise InputError(
            f"--archive {archive} holds {found[0].part.title}, which means nothing beside {choices}"
        )
    return needed


def _bytes_to_come(missing: Sequence[Part], published: Published, folder: Folder) -> int:
    """Returns about how many bytes the downloads will add to the folder, and what is made of them.

    Once all archives are there, `_fill` counts again, and by what is there.
    """
    sizes = {path.name: path.stat().st_size for path in folder.archives.glob("*")}
    count = 0
    for part in missing:
        if part.file_name not in sizes:
            begun = sizes.get(f"{part.file_name}.part", 0)
            count += max(0, part.download_bytes - begun)
    images = sum(published.counts.values())
    return count + images * (published.image_bytes + published.label_bytes)


def _origins(found: Sequence[Found], *, allow_other: bool) -> tuple[Origin, ...]:
    return tuple(
        Origin(
            each.part.title,
            each.archive.name,
            each.size,
            parts.digest(each, allow_other=allow_other),
            each.downloaded,
        )
        for each in found
    )


def _check_counts(plan: Plan, published: Published, allow_other: bool) -> None:
    for name, official in published.counts.items():
        if (count := len(plan.lists[name])) == official:
            continue
        message = f"the list {name} has {count} images, and not the official {official}"
        if not allow_other:
            raise InputError(f"{message}; allowed: the official archives, or --allow_other_archive")
        print(f"warning: {message}", file=sys.stderr)


def _manifest(published: Published, plan: Plan, origins: tuple[Origin, ...]) -> Manifest:
    counts = {name: len(ids) for name, ids in plan.lists.items()}
    return Manifest(published.classes.name, dict(published.choices), counts, origins)


def _fill(folder: Folder, published: Published, plan: Plan, written: Manifest) -> None:
    """Writes what is missing of a data set, the lists last."""
    folder.remove_lists(plan.lists)
    files = plan.files(published)
    names = list(files)
    whole = in_threads(folder.has_whole_image, names, "looking at what is there")
    missing = [name for name, is_there in zip(names, whole, strict=True) if not is_there]
    images = sum(name.startswith(IMAGES) for name in missing)
    labels = len(missing) - images
    folder.check_space(images * published.image_bytes + labels * published.label_bytes)
    folder.write(layout.MANIFEST, written.to_json().encode(), durable=True)
    _write_members(folder, {name: files[name] for name in missing})
    ids = sorted(set().union(*plan.lists.values()))
    _check_sizes_of(folder, ids, published.image_suffix)
    folder.write(layout.CLASSES, published.classes.to_json().encode(), durable=True)
    folder.sync()
    for name, listed in plan.lists.items():
        text = "".join(f"{image_id}\n" for image_id in listed)
        folder.write(f"{LISTS}/{name}.txt", text.encode(), durable=True)


def _write_members(folder: Folder, files: Mapping[str, Member]) -> None:
    archives = {member.found.part.title: member.found for member in files.values()}
    for title, found in archives.items():
        targets = {m.path: name for name, m in files.items() if m.found.part.title == title}
        for path, content in found.read(targets.__contains__):
            member = files[targets[path]]
            if member.convert is not None:
                content = member.convert(content, member.name)
            folder.write(targets[path], content)


def _check_sizes_of(folder: Folder, ids: Sequence[str], image_suffix: str) -> None:
    """Raises InputError for an image or label that cannot be read, or a pair of two sizes."""

    def check(image_id: str) -> None:
        image = folder.path / IMAGES / f"{image_id}{image_suffix}"
        label = folder.path / LABELS / f"{image_id}.png"
        if problem := size_problem(label, image_size(label), image, image_size(image)):
            raise InputError(problem)

    in_threads(check, ids, "checking images and labels")


def _tell(folder: Folder, published: Published, counts: Mapping[str, int]) -> None:
    listed = ", ".join(f"{count} images in {name}" for name, count in counts.items())
    print(f"{published.classes.name}: {listed}")
    kept = [path for path in folder.archives.glob("*") if path.is_file()]
    if kept:
        size = in_words(sum(path.stat().st_size for path in kept))
        print(f"the archives in {folder.archives} ({size}) may be deleted")
    command = ["python", "train.py", "--dataset", published.classes.name, "--data_dir"]
    words = [*command, str(folder.path), "--preset", "paper", *published.train_flags.split()]
    print("train with: " + shlex.join([*words, "--labeled_fraction", "0.125"]))
