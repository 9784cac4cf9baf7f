"""Text files made to hurt: bounds of size, depth and numbers, and what a terminal would obey."""

import json
import os

import pytest

from tests.runs import call, one_line
from tf_advseg import flags, textfile
from tf_advseg.config import resolve, stored_config
from tf_advseg.data import splits
from tf_advseg.data.classes import Classes
from tf_advseg.data.classes_file import read_classes
from tf_advseg.data.lists import read_list
from tf_advseg.errors import InputError
from tf_advseg.evaluation import results
from tf_advseg.train_options import TrainConfig

ESCAPE, BELL, REVERSED = "\x1b[2J", "\a", "\u202e"


def test_what_is_written_is_read(tmp_path):
    textfile.write(tmp_path / "a", "größe\n")
    assert textfile.read(tmp_path / "a") == "größe\n"
    (tmp_path / "a").write_text("\ufeff[1]", "utf-8")
    assert textfile.read_json(tmp_path / "a") == [1]


def test_file_of_the_allowed_size_is_read_and_a_larger_one_is_not(tmp_path):
    path = tmp_path / "a"
    path.write_text("x" * 10)
    assert textfile.read(path, 10) == "x" * 10
    with pytest.raises(InputError, match=r"cannot read .*a: it is too large; allowed: 9 bytes"):
        textfile.read(path, 9)


@pytest.mark.parametrize(
    "read", [stored_config, results.read, splits.stored, read_classes, read_list]
)
def test_huge_files_take_neither_memory_nor_time(read, tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # A file of holes, which takes no room on the disk.
    with pytest.raises(InputError, match="it is too large; allowed: "):
        read(tmp_path if read is stored_config else path)


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(InputError, match=f"cannot read .*{name}: it is no regular file"):
            textfile.read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 22 + "]" * 22, "nests deeper than the 20"),
        ('{"a":' * 22 + "1" + "}" * 22, "nests deeper than the 20"),
        ("[" * 100_000, "nests deeper than the 20"),
        ('{"a":' * 100_000, "nests deeper than the 20"),
        ('{"a": 1, "b": 2, "b": 3}', "the key 'b' twice"),
        ('[{"\\u001b": 1, "\\u001b": 1}]', r"the key '\\x1b' twice"),
        ("[NaN]", "the number NaN"),
        ("-Infinity", "the number -Infinity"),
        ("[1e999]", "the number '1e999', which is beyond"),
        ("[" + "9" * 5000 + "]", "whole number of 5000 digits"),
        (str(2**63), "whole number of 19 digits"),
        (str(-(2**63) - 1), "whole number of 20 digits"),
        ('"\n"', "control character"),
        ("{'a': 1}", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_json_beyond_the_bounds_is_refused(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        textfile.parse_json(text)
    assert len(str(caught.value)) < 200


def test_json_within_the_bounds_is_read():
    text = "[" * 21 + "]" * 21
    assert textfile.parse_json(text) == json.loads(text)
    document = {"a": [2**63 - 1, -(2**63), 1e308, None, True, "ü"], "b": {}}
    assert textfile.parse_json(json.dumps(document)) == document


@pytest.mark.parametrize("text", [ESCAPE, BELL, REVERSED, "a\nb", "a\u2028b", "\x9b2J", "\udc80"])
def test_what_a_terminal_obeys_is_not_printable(text):
    assert not textfile.is_printable(text)
    assert textfile.is_printable(textfile.printable(text))
    assert textfile.is_printable(textfile.shown({text: [text]}))


def test_words_of_any_script_are_printable():
    for text in ("Straße", "道路", "می\u200cخواهم", "a\N{NO-BREAK SPACE}b", "🛣️", ""):
        assert textfile.is_printable(text)
        assert textfile.printable(text) == text


@pytest.mark.parametrize("text", [ESCAPE, BELL, REVERSED, "a\tb"])
def test_names_that_a_terminal_obeys_are_refused(text, tmp_path):
    colors = ((0, 0, 0), (1, 1, 1))
    for name, names in ((text, ("a", "b")), ("set", ("a", f"b{text}"))):
        with pytest.raises(InputError, match="allowed: names that can be printed") as caught:
            Classes(name, names, colors)
        assert textfile.is_printable(str(caught.value))
    path = tmp_path / "classes.json"
    entries = [{"name": f"{i}{text}", "color": [i, i, i]} for i in range(2)]
    path.write_text(json.dumps({"name": "set", "classes": entries}))
    with pytest.raises(InputError, match="allowed: names that can be printed"):
        read_classes(path)
    (tmp_path / "train.txt").write_text(f"a\nb{text}c\n", "utf-8")
    with pytest.raises(InputError, match="allowed: file names without folder") as caught:
        read_list(tmp_path / "train.txt")
    assert textfile.is_printable(str(caught.value))


@pytest.mark.parametrize(
    "image_id", ["../../x", "a/../../x", "/x", "..", ".x", "a\\b", "", "é" * 121]
)
def test_ids_that_lead_elsewhere_are_refused_in_a_split(image_id, tmp_path):
    for parts in ([["a", image_id], []], [[], [image_id]]):
        text = json.dumps(dict(zip(("labeled", "unlabeled"), parts)))
        (tmp_path / "split.json").write_text(text)
        with pytest.raises(InputError, match="allowed: file names without folder"):
            splits.stored(tmp_path / "split.json")


def test_id_that_is_listed_twice_is_found(tmp_path):
    ids = [f"image_{n}" for n in range(200_000)]
    (tmp_path / "train.txt").write_text("\n".join([*ids, ids[-1]]))
    # Each compared with each would take an hour.
    with pytest.raises(InputError, match="names 'image_199999' twice"):
        read_list(tmp_path / "train.txt")


def test_error_line_shows_what_a_terminal_would_obey(capsys):
    assert call("evaluate", "--run_dir", f"no{ESCAPE}\n{REVERSED}run") == 2
    error = capsys.readouterr().err
    one_line(error, r"no\x1b[2J \u202erun")
    assert ESCAPE not in error and REVERSED not in error


#: Values of every type that JSON has; none is what every setting takes.
WRONG = (
    *(None, True, False, 0, -1, 1.5, 2**63 - 1, 1e308, "", " ", "a", "1", "nan", "9" * 5000),
    *("1_0", "../..", "\0", "\ud800", ESCAPE, "a" * 20_000),
    *([], [1], [-1, -1], [1, 2, 3], ["a"], [None], {}, {"a": 1}, [[[1]]]),
)


def test_config_with_any_value_replaced_is_read_or_told_in_a_line(tmp_path):
    values = json.loads(flags.to_json(resolve({})))
    path = tmp_path / "config.json"
    refused = read = 0
    for key in values:
        for wrong in WRONG:
            path.write_text(json.dumps({**values, key: wrong}))
            try:
                resolve({}, flags.values_from_json(TrainConfig, path))
                read += 1
            except InputError as error:
                assert key in str(error) or str(path) in str(error) or "means nothing" in str(error)
                assert len(str(error)) < 1000
                refused += 1
    assert refused > 10 * len(values)
    assert read > len(values)
