"""The short form of the fuzz test, and that it sees what it is to see."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.soak.fuzz import fuzz
from tests.soak.mutators import MUTATORS
from tests.soak.targets import TARGETS, Target
from tf_advseg.errors import InputError


def test_damaged_files_are_read_or_refused_in_one_line():
    """`make soak` tries thousands."""
    inputs = 20 * len(TARGETS)
    figures = fuzz(inputs, seed=0)
    assert figures.failures == ()
    assert figures.inputs == figures.accepted + figures.refused == inputs
    # Most damage is seen; some is none, such as behind the end of an image.
    assert figures.refused > inputs / 2
    for name, counts in figures.by_target.items():
        assert sum(counts.values()) == 20, name


# Readers that are wrong, each in its way


def one_file(folder):
    path = folder / "a.txt"
    path.write_bytes(b"whole")
    return [path]


def wrong(act):
    """A reader that takes the original, which it is given first, and does `act` ever after."""
    seen = []

    def read(path):
        if seen:
            act()
        seen.append(path)

    return Target(one_file, lambda: read)


def raises(error):
    def act():
        raise error

    return act


def take_memory():
    bytearray(2**36)


BROKEN = {
    "refuses": wrong(raises(InputError("a.txt is wrong"))),
    "says nothing": wrong(raises(InputError(" \n"))),
    "raises": wrong(raises(KeyError("a"))),
    "hangs": wrong(lambda: time.sleep(1000)),
    "ends": wrong(lambda: os.kill(os.getpid(), 11)),
    "takes memory": wrong(take_memory),
}


def test_every_kind_of_failure_is_found_with_its_input():
    figures = fuzz(len(BROKEN), seed=60, table="tests.test_fuzz:BROKEN", targets=BROKEN, seconds=5)
    found = {failure.target: failure for failure in figures.failures}
    assert (figures.inputs, figures.accepted, figures.refused) == (6, 0, 1)
    assert figures.by_target["refuses"] == {"accepted": 0, "refused": 1}
    assert set(found) == set(BROKEN) - {"refuses"}
    assert "a message that is no line" in found["says nothing"].problem
    assert found["raises"].problem == "a.txt: KeyError: 'a'"
    assert found["hangs"].problem == "no answer in time"
    assert "ended with code -11" in found["ends"].problem
    assert "MemoryError" in found["takes memory"].problem
    assert [found[name].seed for name in list(BROKEN)[1:]] == [61, 62, 63, 64, 65]


# Mutators


@pytest.mark.parametrize("mutate", MUTATORS, ids=lambda mutate: mutate.__name__)
def test_damage_follows_from_its_seed_and_is_seldom_none(mutate, tmp_path):
    originals = [
        *(path.read_bytes() for path in TARGETS["image"].originals(tmp_path)),
        *(path.read_bytes() for path in TARGETS["PyTorch .pth"].originals(tmp_path)),
        b'{"a": [1, 2, {"b": null}], "c": "5.5"}',
        b"",
    ]
    changed = 0
    for content in originals:
        for seed in range(5):
            found = [mutate(content, originals[0], random.Random(seed)) for _ in range(2)]
            assert isinstance(found[0], bytes)
            assert found[0] == found[1]
            changed += found[0] != content
    assert changed > len(originals) * 5 / 2


def test_originals_are_as_they_were_after_an_input(tmp_path):
    from tests.soak.fuzz_worker import FAILED, Bench

    read = raises(ValueError("x"))
    [path] = one_file(tmp_path)
    bench = Bench(Target(one_file, lambda: None), {path: b"whole"}, lambda path: read())
    assert bench.outcome(0) == (FAILED, "a.txt: ValueError: x")
    assert Path(path).read_bytes() == b"whole"
