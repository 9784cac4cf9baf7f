"""Every flag of every script, with any value that it allows and any text that it does not."""

import dataclasses
import json
import math
import operator

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.runs import call
from tf_advseg import flags, textfile
from tf_advseg.errors import InputError
from tf_advseg.options import EvaluateConfig, ExportConfig
from tf_advseg.train_options import TrainConfig

SCRIPTS = {"train": TrainConfig, "evaluate": EvaluateConfig, "export": ExportConfig}
FLAGS = [
    pytest.param(script, field, id=f"{script}-{field.name}")
    for script, cls in SCRIPTS.items()
    for field in dataclasses.fields(cls)
]
every_flag = pytest.mark.parametrize(("script", "field"), FLAGS)

#: Texts that are wrong for most kinds, beside any at all.
WRONG = (
    *("", " ", "-1", "0", "1.5", "nan", "inf", "-inf", "1e999", "1,2,3", "1,", ",", "0,0", "1,1"),
    *("none", "None", "True", "null", "9" * 5000, "a/b", "\0", "\ud800", "grpc://h:0", "5:3", "::"),
    *("2147483647", "2147483648", "1.0,1.0", "0.5,0.9", "4.5", "1000000"),
    *("0x10", "--steps", "3 4", "é", "\u0663", "a\nb", "\x1b[31m", "8.0", "[1]", "../x"),
)
texts = st.one_of(st.sampled_from(WRONG), st.text(max_size=12))
ports = st.integers(1, 2**16 - 1)
positive = st.floats(0, exclude_min=True, allow_infinity=False, allow_subnormal=False)


def values_of(kind):
    """The values that a kind of flag allows, from what it says to the user."""
    metavar, allowed = kind.metavar, kind.allowed
    if metavar in (None, "{true,false}"):
        return st.booleans()
    if metavar.startswith("{"):
        names = metavar[1:-1].split(",")
        return st.sampled_from([int(n) for n in names] if names[0].isdigit() else names)
    if metavar in ("N", "X"):
        return number_within(allowed, whole=metavar == "N")
    if metavar == "N|H,W":
        least = int(allowed.rsplit(maxsplit=1)[1])
        return st.tuples(*[st.integers(least, 10**6)] * 2)
    if metavar == "X,X":
        count = allowed.split()[0]
        below = float(allowed.rsplit(maxsplit=1)[1]) if "below" in allowed else None
        sizes = (1, 5) if count == "some" else (int(count), int(count))
        number = positive if below is None else st.floats(1e-9, below, exclude_max=True)
        return st.lists(number, min_size=sizes[0], max_size=sizes[1]).map(tuple)
    if metavar == "N,N":
        return st.lists(st.integers(1, 10**6), min_size=1, max_size=6, unique=True).map(tuple)
    if metavar == "START:STOP":
        pair = st.lists(st.integers(1, 10**6), min_size=2, max_size=2, unique=True).map(sorted)
        return pair.map(lambda bounds: f"{bounds[0]}:{bounds[1]}")
    if metavar == "ADDRESS":
        scheme = allowed.partition(":")[0]
        host = st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True)
        return st.builds(lambda name, port: f"{scheme}://{name}:{port}", host, ports)
    assert metavar in ("PATH", "NAME"), metavar
    return st.text(min_size=1, max_size=30).filter(
        lambda text: "\0" not in text and (metavar == "PATH" or not {"/", "\\"} & set(text))
    )


def number_within(allowed, whole):
    """Numbers within the bounds that are told as "at least A", "above A" and "at most B"."""
    words = allowed.split()
    above = "above" in words
    low = float(words[words.index("above" if above else "least") + 1])
    high = float(words[-1]) if "most" in words else None
    if whole:
        # `%g` rounds large bounds; of those only the lower half is tried.
        top = 10**9 if high is None else int(high) if high < 10**6 else int(high / 2)
        return st.integers(int(low) + above, top)
    return st.floats(low, high, exclude_min=above, allow_infinity=False, allow_subnormal=False)


def is_allowed(value, allowed):
    """Whether a number, or each of several, is what the words say."""
    words = allowed.replace("above 0 and below", "above 0, below").split()
    bounds = {"above": operator.gt, "least": operator.ge, "most": operator.le, "below": operator.lt}
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(one, int | float) for one in numbers):
        return True
    return all(
        math.isfinite(one) and holds(one, float(words[words.index(word) + 1].rstrip(",")))
        for word, holds in bounds.items()
        if word in words
        for one in numbers
    )


def is_switch(field):
    return field.metadata["kind"].metavar is None


@every_flag
@given(data=st.data())
def test_value_becomes_text_and_the_same_value_again(script, field, data):
    value = data.draw(values_of(field.metadata["kind"]))
    text = flags.to_text(value)
    parsed = flags.from_text(SCRIPTS[script], field.name, text)
    assert parsed == value and type(parsed) is type(value)
    if not is_switch(field):
        argument = f"--{field.name}={text}"
        assert flags.parse(SCRIPTS[script], [argument], "") == {field.name: value}


@every_flag
@example(text="2147483647")
@example(text="2147483648")
@given(text=texts)
def test_text_is_a_value_that_survives_or_is_told(script, field, text):
    cls = SCRIPTS[script]
    try:
        value = flags.from_text(cls, field.name, text)
    except InputError as error:
        kind = field.metadata["kind"]
        assert (
            str(error) == f"--{field.name} is {textfile.shown(text, 200)}; allowed: {kind.allowed}"
        )
        assert "\n" not in str(error)
    else:
        assert flags.from_text(cls, field.name, flags.to_text(value)) == value
        assert is_allowed(value, field.metadata["kind"].allowed)


def refused(field):
    """A text that the flag does not allow, without a line break; None if it allows any."""
    for text in WRONG:
        try:
            field.metadata["kind"].parse(text)
        except (ValueError, KeyError):
            if text.isprintable():
                return text
    return None


@every_flag
def test_wrong_text_ends_the_script_with_code_2_and_one_line(script, field, capsys):
    text = refused(field)
    assert text is not None
    if is_switch(field):
        assert call(script, f"--{field.name}=maybe") == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and f"--{field.name}" in line and "maybe" in line
        return
    assert call(script, f"--{field.name}={text}") == 2
    [line] = capsys.readouterr().err.splitlines()
    allowed = " ".join(field.metadata["kind"].allowed.split())
    assert line == f"error: --{field.name} is {text!r}; allowed: {allowed}"


@st.composite
def configs(draw):
    """Configurations with a value of any flag; some are left out."""
    values = {
        field.name: draw(values_of(field.metadata["kind"]))
        for field in dataclasses.fields(TrainConfig)
        if draw(st.booleans())
    }
    return TrainConfig(**values)


@given(configs())
def test_configuration_survives_its_file(tmp_path, settings):
    path = tmp_path / "config.json"
    path.write_text(flags.to_json(settings), "utf-8")
    assert TrainConfig(**flags.values_from_json(TrainConfig, path)) == settings


@given(configs(), st.sampled_from([field.name for field in dataclasses.fields(TrainConfig)]), texts)
def test_configuration_with_one_other_value_is_read_or_told(tmp_path, settings, name, text):
    path = tmp_path / "config.json"
    document = json.loads(flags.to_json(settings))
    path.write_text(json.dumps({**document, name: text}), "utf-8")
    try:
        values = flags.values_from_json(TrainConfig, path)
    except InputError as error:
        assert f"--{name} is" in str(error)
    else:
        again = TrainConfig(**values)
        assume(text == flags.to_text(getattr(again, name)))
        assert again == dataclasses.replace(settings, **{name: values[name]})
