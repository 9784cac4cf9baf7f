"""The folder that is prepared: what may be in it, its manifest, downloads and room on the disk."""

import fcntl
import json
import os
import shutil
from unittest import mock

import pytest

from tests.archives_made import (
    content_of,
    extracted,
    official_digest,
    prepare,
    tar,
)
from tf_advseg.data.prepare import download, layout, parts
from tf_advseg.data.prepare.layout import Folder
from tf_advseg.errors import InputError

OTHER = "--allow_other_archive"
LABELS = "SegmentationClass"


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """The names of what is downloaded: copies of the archives in tmp_path."""
    names = []

    def fetch(url, path, expected, size):
        names.append(path.name)
        path.parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / path.name, path)

    monkeypatch.setattr(download, "fetch", fetch)
    return names


@pytest.mark.parametrize("given", [(), ("VOCtrainval_11-May-2012.tar",)])
def test_download(given, made, tmp_path, capsys, fetched):
    voc, folder = made
    voc.both(tmp_path)
    flags = [word for name in given for word in ("--archive", tmp_path / name, "--download")]
    # What is downloaded was checked by `fetch`; only the counts are others.
    assert prepare("voc2012", "--data_dir", folder, *flags, OTHER) == 0
    assert fetched == ["VOCtrainval_11-May-2012.tar", "benchmark.tgz"][len(given) :]
    assert sorted(p.name for p in (folder / "archives").iterdir()) == fetched
    size = "0.1 MB" if not given else "0.0 MB"
    assert f"the archives in {folder / 'archives'} ({size}) may be deleted" in (
        capsys.readouterr().out
    )
    shutil.rmtree(folder / "archives")
    assert prepare("voc2012", "--data_dir", folder) == 0
    out = capsys.readouterr().out
    assert "is finished" in out and "may be deleted" not in out
    assert len(fetched) == 2 - len(given)


def begin(folder, *flags):
    """Prepares a folder and takes an image and a list away, so that it is not finished."""
    assert prepare("voc2012", "--data_dir", folder, *flags) == 0
    (folder / "ImageSets/Segmentation/val.txt").unlink()
    (folder / "JPEGImages/2007_000033.jpg").unlink()


def test_folder_of_other_archives_is_not_finished_by_a_download(made, tmp_path, fails, fetched):
    voc, folder = made
    archives = voc.both(tmp_path)
    begin(folder, *archives)
    says = "VOCtrainval_11-May-2012.tar (VOC 2012)", "begun with", "--archive FILE", str(folder)
    for flags in ((), ("--download",), (OTHER,)):
        fails("--data_dir", folder, *flags, says=says)
    fails("--data_dir", folder, *archives[:2], OTHER, "--download", says="benchmark.tgz (SBD)")
    assert fetched == [] and not (folder / "archives").exists()
    assert prepare("voc2012", "--data_dir", folder, *archives) == 0


def test_folder_of_given_official_archives(made, tmp_path, fails, fetched, monkeypatch):
    voc, folder = made
    archives = voc.both(tmp_path)
    monkeypatch.setattr(download, "digest", official_digest)
    begin(folder, *archives)
    says = "VOCtrainval_11-May-2012.tar (VOC 2012) is missing", "--archive FILE", "or --download"
    fails("--data_dir", folder, OTHER, says=says)
    fails("--data_dir", folder, *archives[:2], OTHER, says=("benchmark.tgz (SBD)", "--download"))
    assert fetched == []
    assert prepare("voc2012", "--data_dir", folder, "--download", OTHER) == 0
    assert fetched == ["VOCtrainval_11-May-2012.tar", "benchmark.tgz"]


def test_folder_of_downloads_is_finished_by_the_same_command(made, tmp_path, fetched):
    voc, folder = made
    archives = voc.both(tmp_path)
    begin(folder, OTHER)
    before = (folder / "prepare.json").read_bytes()
    shutil.rmtree(folder / "archives")
    assert prepare("voc2012", "--data_dir", folder, OTHER) == 0
    assert fetched == ["VOCtrainval_11-May-2012.tar", "benchmark.tgz"] * 2
    assert (folder / "prepare.json").read_bytes() == before
    # What was given must be given again, or be asked for.
    shutil.rmtree(folder)
    begin(folder, *archives[:2], "--download", OTHER)
    origins = json.loads((folder / "prepare.json").read_text())["archives"]
    assert [origin["downloaded"] for origin in origins] == [False, True]


def test_finished_folder_is_told_without_reading_archives(made, tmp_path, capsys, monkeypatch):
    voc, folder = made
    archives = voc.both(tmp_path)
    prepare("voc2012", "--data_dir", folder, *archives)
    before = content_of(folder)
    times = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    monkeypatch.setattr(parts, "find", lambda *_: pytest.fail("it reads an archive"))
    capsys.readouterr()
    assert prepare("voc2012", "--data_dir", folder, *archives) == 0
    assert f"{folder} is finished" in capsys.readouterr().out
    assert content_of(folder) == before
    assert times == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_other_choices_and_archives_are_refused(made, tmp_path, fails):
    voc, folder = made
    archives = voc.both(tmp_path)
    to = "--data_dir", folder
    prepare("voc2012", *to, *archives)
    fails(*to, "--labels", "voc", says=("--labels sbd, and not as voc2012 --labels voc"))
    other = tar(tmp_path / "other.tar", {**voc.voc_members(), "more": bytes(20_000)})
    flags = "--archive", other, *archives[2:]
    fails(*to, *flags, says=("other archives than other.tar", "another folder"))
    # Also while it is not finished; and there, an archive of the same size, too.
    (folder / "ImageSets/Segmentation/val.txt").unlink()
    fails(*to, *flags, says=("other archives than other.tar", "another folder"))
    voc.images["2012_004331"] = voc.images["2012_004331"][::-1]
    fails(*to, *voc.both(tmp_path), says="other archives than VOCtrainval_11-May-2012.tar")


def test_what_is_missing_or_damaged_is_written_again(made, tmp_path):
    voc, folder = made
    archives = voc.both(tmp_path)
    prepare("voc2012", "--data_dir", folder, *archives)
    before = content_of(folder)
    (folder / "JPEGImages/2008_000002.jpg").unlink()
    (folder / f"{LABELS}/2007_000032.png").write_bytes(b"")  # As after a power failure.
    kept = (folder / f"{LABELS}/2008_000002.png").stat().st_mtime_ns
    assert prepare("voc2012", "--data_dir", folder, *archives) == 0
    assert content_of(folder) == before
    assert (folder / f"{LABELS}/2008_000002.png").stat().st_mtime_ns == kept


@pytest.mark.parametrize("name", [f"{LABELS}/2008_000002.png", "JPEGImages/2007_000033.jpg"])
def test_folder_with_a_gap_is_no_data_set_until_it_is_filled(name, made, tmp_path, monkeypatch):
    voc, folder = made
    archives = voc.both(tmp_path)
    prepare("voc2012", "--data_dir", folder, *archives)
    before = content_of(folder)
    (folder / name).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", mock.Mock(side_effect=KeyboardInterrupt))
        assert prepare("voc2012", "--data_dir", folder, *archives) == 130
    assert list((folder / "ImageSets/Segmentation").iterdir()) == []
    assert prepare("voc2012", "--data_dir", folder, *archives) == 0
    assert content_of(folder) == before


def test_list_that_was_shortened_is_written_again(made, tmp_path):
    voc, folder = made
    archives = voc.both(tmp_path)
    prepare("voc2012", "--data_dir", folder, *archives)
    before = content_of(folder)
    (folder / "ImageSets/Segmentation/train_aug.txt").write_text("2007_000032\n")
    assert prepare("voc2012", "--data_dir", folder, *archives) == 0
    assert content_of(folder) == before


def test_lists_come_last(made, tmp_path, monkeypatch):
    voc, folder = made
    order, write = [], Folder.write
    monkeypatch.setattr(
        Folder,
        "write",
        lambda self, name, *a, **k: order.append(name) or write(self, name, *a, **k),
    )
    prepare("voc2012", "--data_dir", folder, *voc.both(tmp_path))
    assert order[0] == "prepare.json"
    assert [name.split("/")[0] for name in order[-4:]] == ["classes.json", *["ImageSets"] * 3]
    assert len(order) == 19


@pytest.mark.parametrize("name", ["notes.txt", "JPEGImages/a.jpg"])
def test_foreign_files_are_refused(name, made, tmp_path, fails):
    voc, folder = made
    extracted(folder, {name: b"mine"})
    says = f"holds other files ({name.split('/')[0]})", "a new or empty folder"
    fails("--data_dir", folder, *voc.both(tmp_path), says=says)
    assert content_of(folder) == {name: b"mine"}


@pytest.mark.parametrize("name", [".DS_Store", "notes/a.txt", "ImageSets/Segmentation/mine.txt"])
def test_files_of_a_user_in_a_folder_of_ours_stay(name, made, tmp_path):
    voc, folder = made
    archives = voc.both(tmp_path)
    prepare("voc2012", "--data_dir", folder, *archives)
    extracted(folder, {name: b"2007_000033\n"})
    before = content_of(folder)
    assert prepare("voc2012", "--data_dir", folder, *archives) == 0
    (folder / "JPEGImages/2007_000033.jpg").unlink()
    assert prepare("voc2012", "--data_dir", folder, *archives) == 0
    assert content_of(folder) == before


def test_list_that_cannot_be_removed(made, tmp_path, fails):
    voc, folder = made
    archives = voc.both(tmp_path)
    prepare("voc2012", "--data_dir", folder, *archives)
    listed = folder / "ImageSets/Segmentation/val.txt"
    listed.unlink()
    listed.mkdir()
    fails("--data_dir", folder, *archives, says=(f"cannot remove {listed}: ", "directory"))


def test_foreign_manifest(made, tmp_path, fails):
    voc, folder = made
    archives = voc.both(tmp_path)
    prepare("voc2012", "--data_dir", folder, *archives)
    whole = '{"data_set": "voc2012", "choices": %s, "lists": %s, "archives": %s}'
    wrong = [whole % words for words in (("{}", "[]", "[]"), ("1", "{}", "[]"), ("{}", "{}", "1"))]
    for text in ("[]", "7", "{}", *wrong, whole % ("{}", "{}", "[{}]")):
        (folder / "prepare.json").write_text(text)
        fails("--data_dir", folder, *archives, says="prepare.json is not what this command writes")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is no JSON: Expecting value: line 1 column 1"),
        (b'{"lists": {}, "lists": {}}', "it has the key 'lists' twice"),
        (b'{"data_set": "\xff"}', "it is no UTF-8 text"),
        (b" " * (2**20 + 1), "it is too large; allowed: 1048576 bytes"),
    ],
    ids=["cut off", "key twice", "no text", "large"],
)
def test_manifest_that_cannot_be_read_says_why(content, reason, tmp_path):
    (tmp_path / "prepare.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        layout.stored_manifest(Folder(tmp_path))
    said = str(caught.value)
    assert said.startswith(f"cannot read {tmp_path / 'prepare.json'}: ") and reason in said


def test_folder_that_cannot_be_made_or_is_busy(made, tmp_path, fails):
    voc, folder = made
    archives = voc.both(tmp_path)
    fails("--data_dir", archives[1], *archives, says="cannot make --data_dir")
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    fails("--data_dir", folder, *archives, says="another process is preparing")
    os.close(handle)
    assert prepare("voc2012", "--data_dir", folder, *archives) == 0


def test_who_waits_outside_removes_nothing(tmp_path):
    folder = tmp_path / "D"
    with layout.opened(folder) as at_work:
        at_work.write("prepare.json", b"{}")
        assert (folder / ".unfinished").is_dir()
        with (
            pytest.raises(InputError, match="another process is preparing"),
            layout.opened(folder),
        ):
            pass
        assert (folder / ".unfinished").is_dir()
    assert not (folder / ".unfinished").exists()
    with layout.opened(folder):
        pass  # Nobody holds it any more.


def test_refused_folder_is_left_as_it_is_and_unlocked(tmp_path):
    extracted(tmp_path, {".unfinished/half": b"", "mine": b""})
    for _ in range(2):
        with pytest.raises(InputError, match=r"other files \(mine\)"), layout.opened(tmp_path):
            pass
        assert set(content_of(tmp_path)) == {".unfinished/half", "mine"}


def test_room_on_the_disk(made, tmp_path, fails):
    voc, folder = made
    archives = voc.both(tmp_path)
    with mock.patch("shutil.disk_usage", return_value=mock.Mock(free=400_000)):
        fails("--data_dir", folder, *archives, says=("0.4 MB free", "needs 0.9 MB more"))
    with mock.patch("shutil.disk_usage", return_value=mock.Mock(free=10**9)):
        # 3.5 GB of archives, and 13,495 images and labels of them.
        fails("--data_dir", folder, says=("1.0 GB free", "needs 5.2 GB more"))
    with mock.patch("shutil.disk_usage", return_value=mock.Mock(free=900_000)):
        assert prepare("voc2012", "--data_dir", folder, *archives) == 0
