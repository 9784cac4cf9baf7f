"""Flags as dataclass fields: a type's text form, its check and its help stand in one place.

A configuration is a frozen dataclass whose fields are made by `flag`. From it come the argument
parser, the checks, and the JSON form. No TensorFlow here, so that `--help` is instant.
"""

import argparse
import dataclasses
import difflib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tf_advseg import textfile
from tf_advseg.errors import InputError

Config = TypeVar("Config")

_LONGEST_SHOWN = 200  # Characters of what was given that an error quotes.


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a flag's text becomes its value.

    Attributes:
      parse: text -> value; raises ValueError if the text is not allowed.
      allowed: what is allowed, in words, for the help and for errors.
      metavar: the placeholder in the help; None for a switch that takes no value.
      repeats: whether the flag may be given several times; its value is then a tuple.
    """

    parse: Callable[[str], Any]
    allowed: str
    metavar: str | None
    repeats: bool = False


def integer(low: int, high: int | None = None) -> Kind:
    """A whole number in [low, high]."""

    def parse(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            raise ValueError
        return value

    return Kind(parse, f"a whole number {_range(low, high)}", "N")


def number(low: float, high: float | None = None, *, above: bool = False) -> Kind:
    """A finite number in [low, high], or in (low, high] if `above`."""

    def parse(text: str) -> float:
        value = float(text)
        too_low = value <= low if above else value < low
        if not math.isfinite(value) or too_low or (high is not None and value > high):
            raise ValueError
        return value

    return Kind(parse, f"a number {_range(low, high, above)}", "X")


def parse_share(text: str) -> float:
    """Returns a share in (0, 1] given as 0.125, as 1/8 or as full.

    Raises:
      ValueError: it is none.
    """
    above, _, below = ("1" if text == "full" else text).partition("/")
    number, divisor = float(above), float(below or 1)
    if not 0 < number <= divisor < math.inf:
        raise ValueError
    return number / divisor


def share() -> Kind:
    """A share in (0, 1], as `parse_share` has it."""
    return Kind(parse_share, "a share such as 1/8, 0.3 or full, above 0 and at most 1", "X")


def _range(low: float, high: float | None, above: bool = False) -> str:
    words = f"above {to_text(low)}" if above else f"of at least {to_text(low)}"
    return words if high is None else f"{words} and at most {to_text(high)}"


def choice(names: Iterable[str]) -> Kind:
    """One of the given names."""
    names = tuple(names)

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError
        return text

    return Kind(parse, "one of " + ", ".join(names), "{" + ",".join(names) + "}")


def one_of(values: Iterable[int]) -> Kind:
    """One of the given whole numbers."""
    values = tuple(values)

    def parse(text: str) -> int:
        if int(text) not in values:
            raise ValueError
        return int(text)

    words = [str(value) for value in values]
    return Kind(parse, "one of " + ", ".join(words), "{" + ",".join(words) + "}")


def name() -> Kind:
    """A name: text without a slash."""

    def parse(value: str) -> str:
        if "/" in value or "\\" in value:
            raise ValueError
        return _path(value)

    return Kind(parse, "a name without slashes", "NAME")


def size(minimum: int = 1) -> Kind:
    """Height and width in pixels, each at least `minimum`: "N" (square) or "H,W"."""

    def parse(text: str) -> tuple[int, int]:
        parts = [int(part) for part in text.split(",")]
        if len(parts) not in (1, 2) or min(parts) < minimum:
            raise ValueError
        return parts[0], parts[-1]

    return Kind(parse, f"N or H,W, in pixels, each at least {minimum}", "N|H,W")


def numbers(count: int | None = None, below: float = math.inf) -> Kind:
    """Positive numbers under `below`, comma-separated: `count` of them, or any if that is None."""

    def parse(text: str) -> tuple[float, ...]:
        values = tuple(float(part) for part in text.split(","))
        if (count and len(values) != count) or not all(0 < v < below for v in values):
            raise ValueError
        return values

    limit = "" if below == math.inf else f" and below {below:g}"
    return Kind(parse, f"{count or 'some'} comma-separated numbers above 0{limit}", "X,X")


def integers() -> Kind:
    """Whole numbers from 1 on, comma-separated, each once."""

    def parse(text: str) -> tuple[int, ...]:
        values = tuple(int(part) for part in text.split(","))
        if min(values) < 1 or len(set(values)) < len(values):
            raise ValueError
        return values

    return Kind(parse, "different comma-separated whole numbers of at least 1", "N,N")


def text() -> Kind:
    """Any text but the empty one: a path or a name."""

    return Kind(_path, "a text that is not empty and can be a path", "PATH")


def _path(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError
    os.fsencode(value)  # Raises it for half of a character.
    return value


def location(scheme: str) -> Kind:
    """Where a server listens: "SCHEME://HOST:PORT"."""
    pattern = re.compile(re.escape(scheme) + r"://([^\s:/]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})")

    def parse(value: str) -> str:
        found = pattern.fullmatch(value)
        if found is None or not 0 < int(found[2]) < 2**16:
            raise ValueError
        return value

    return Kind(parse, f"{scheme}://HOST:PORT", "ADDRESS")


def span() -> Kind:
    """Two numbers of steps, "START:STOP" with 0 < START < STOP; it stays a text."""

    def parse(value: str) -> str:
        start, stop = bounds(value)
        if not 0 < start < stop:
            raise ValueError
        return value

    return Kind(parse, "START:STOP, whole numbers with 0 < START < STOP", "START:STOP")


def bounds(span: str) -> tuple[int, int]:
    """Returns the two numbers of "START:STOP".

    Raises:
      ValueError: they are not two.
    """
    start, stop = span.split(":")
    return int(start), int(stop)


def several(kind: Kind) -> Kind:
    """The flag may be given several times, each time with a value of this kind."""
    return dataclasses.replace(kind, repeats=True)


def boolean() -> Kind:
    """true or false, written out."""

    def parse(value: str) -> bool:
        return {"true": True, "false": False}[value]

    return Kind(parse, "true or false", "{true,false}")


def switch() -> Kind:
    """A flag without value: false unless given."""
    return Kind(boolean().parse, "true or false", None)


def flag(default: Any, kind: Kind, help: str, *, group: str = "") -> Any:
    """A dataclass field that is a command-line flag of the same name."""
    return dataclasses.field(default=default, metadata={"kind": kind, "help": help, "group": group})


class _Parser(argparse.ArgumentParser):
    """Raises InputError instead of printing usage, so that every wrong flag is told alike."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}{self._meant(message)}; see {self.prog} --help")

    def _meant(self, message: str) -> str:
        """Returns which flags may have been meant by those that the message calls unknown."""
        _, _, unknown = message.partition("unrecognized arguments: ")
        words = [word.partition("=")[0] for word in unknown.split() if word.startswith("--")]
        known = self._option_string_actions
        meant = [near for word in words for near in difflib.get_close_matches(word, known, 1)]
        return f": did you mean {', '.join(meant)}?" if meant else ""


def parse(
    cls: type[Config],
    argv: list[str] | None,
    description: str,
    epilog: str = "",
    prog: str | None = None,
) -> dict[str, Any]:
    """Returns the values of the flags that are given in `argv`, and no others, checked one by one.

    Args:
      cls: a dataclass whose fields were made by `flag`.
      argv: the arguments; None means the process's own.
      description: the first line of the help.
      epilog: its last lines.
      prog: how the program is called; None means by its file's name.

    Raises:
      InputError: an unknown flag, or a value that is not allowed.
    """
    parser = _parser(cls, description, epilog, prog)
    return _checked(cls, parser.parse_args(sys.argv[1:] if argv is None else argv))


def parse_known(
    cls: type[Config], argv: list[str], description: str, epilog: str = "", prog: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """As `parse`, but returns the arguments that are no flags of `cls` too, in their order.

    Raises:
      InputError: a value that is not allowed.
    """
    given, rest = _parser(cls, description, epilog, prog).parse_known_args(argv)
    return _checked(cls, given), rest


def _parser(cls: type, description: str, epilog: str, prog: str | None) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    groups: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        kind, group = field.metadata["kind"], field.metadata["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group) if group else parser
        help_text = field.metadata["help"]
        if field.default not in (None, ()) and kind.metavar:
            help_text += f" [{to_text(field.default)}]"
        options = (
            {"metavar": kind.metavar}
            if kind.metavar
            else {"action": "store_const", "const": "true"}
        )
        if kind.repeats:
            options["action"] = "append"
        groups[group].add_argument(f"--{field.name}", help=help_text.replace("%", "%%"), **options)
    return parser


def _checked(cls: type, given: argparse.Namespace) -> dict[str, Any]:
    return {
        name: tuple(from_text(cls, name, one) for one in value)
        if isinstance(value, list)
        else from_text(cls, name, value)
        for name, value in vars(given).items()
    }


def from_text(cls: type, name: str, value: str) -> Any:
    """Returns the value of flag `name` of `cls` that the text `value` stands for.

    Raises:
      InputError: the text is not allowed.
    """
    kind = next(f.metadata["kind"] for f in dataclasses.fields(cls) if f.name == name)
    try:
        return kind.parse(value)
    except (ValueError, KeyError):
        shown = textfile.shown(value, _LONGEST_SHOWN)
        raise InputError(f"--{name} is {shown}; allowed: {kind.allowed}") from None


def to_text(value: Any) -> str:
    """Returns the text that a flag's `value` is parsed from."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(to_text(v) for v in value)
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)


def to_json(config: Any) -> str:
    """Returns every value of the dataclass `config` as JSON text, one key a line."""
    return json.dumps(dataclasses.asdict(config), indent=1) + "\n"


def to_markdown(config: Any) -> str:
    """Returns every value of the dataclass `config` as a Markdown table."""
    rows = []
    for name, value in dataclasses.asdict(config).items():
        shown = to_text(value).replace("|", "\\|")  # A bar would end the cell.
        rows.append(f"| {name} | {shown} |")
    return "\n".join(["| flag | value |", "|---|---|", *rows])


def values_from_json(cls: type, path: Path) -> dict[str, Any]:
    """Reads back what `to_json` wrote, checked like flags.

    Raises:
      InputError: the file is no JSON object, or has an unknown key or a value that is not allowed.
    """
    return values_from_document(cls, textfile.read_json(path), str(path))


def values_from_document(cls: type, stored: Any, source: str) -> dict[str, Any]:
    """Returns the values of `cls` that a JSON document from `source` holds, checked like flags.

    Raises:
      InputError: as `values_from_json`.
    """
    if not isinstance(stored, Mapping):
        raise InputError(f"{source} is no JSON object")
    defaults = {f.name: f.default for f in dataclasses.fields(cls)}
    if unknown := sorted(set(stored) - set(defaults)):
        raise InputError(f"{source} has unknown keys: {', '.join(unknown)[:200]}")
    for name, value in stored.items():
        if value is None and defaults[name] is not None:
            raise InputError(f"--{name} is null in {source}; allowed: a value")
    return {k: None if v is None else from_text(cls, k, to_text(v)) for k, v in stored.items()}
