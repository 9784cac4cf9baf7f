"""The process that reads damaged files: `python -m tests.soak.fuzz_worker`, started by `fuzz`.

It says each input's number before it reads it, and its outcome after, so that whoever started it
knows which one it was that ended or stopped this process.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import random
import resource
import sys
import warnings
from pathlib import Path

from tests.soak.mutators import MUTATORS
from tests.soak.targets import Reader, Target
from tf_advseg.errors import InputError

#: Bytes that reading one small file may take beside what the process has.
MEMORY = 2 * 2**30

ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed"
_LONGEST_MESSAGE = 2000


def target_of(number: int, targets: dict[str, Target]) -> str:
    """Returns the name of the target that an input is for."""
    return list(targets)[number % len(targets)]


@dataclasses.dataclass
class Bench:
    """A target's files and reader, ready."""

    target: Target
    contents: dict[Path, bytes]
    read: Reader

    def outcome(self, number: int) -> tuple[str, str]:
        """Reads the input of a number; returns what came out, and what was said."""
        rng = random.Random(number)
        path = rng.choice(list(self.contents))
        path.write_bytes(self._damaged(path, rng))
        try:
            message = self._read(path)
        except Exception as error:
            return FAILED, f"{path.name}: {type(error).__name__}: {error}"[:_LONGEST_MESSAGE]
        finally:
            path.write_bytes(self.contents[path])
        return (ACCEPTED, "") if message is None else (REFUSED, message)

    def _damaged(self, path: Path, rng: random.Random) -> bytes:
        content, other = self.contents[path], rng.choice(list(self.contents.values()))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            content = rng.choice(MUTATORS)(content, other, rng)
        return content

    def _read(self, path: Path) -> str | None:
        """Returns the message of a refusal in good order; None if the file was accepted."""
        try:
            self.read(path)
        except InputError as error:
            message = " ".join(str(error).split())  # As the scripts tell it.
            if not message or len(message) > _LONGEST_MESSAGE:
                raise AssertionError(f"a message that is no line: {message[:200]!r}") from None
            return message
        except Exception as error:
            if self.target.in_graph and _refused_by_graph(error):
                return str(error)
            raise
        return None


def _refused_by_graph(error: Exception) -> bool:
    import tensorflow as tf

    return isinstance(error, tf.errors.InvalidArgumentError) and bool(str(error))


def _ready(target: Target, folder: Path) -> Bench:
    """Writes a target's originals, and sees that its reader takes them."""
    folder.mkdir(parents=True)
    contents = {path: path.read_bytes() for path in target.originals(folder)}
    read = target.reader()
    for path in contents:
        read(path)
    return Bench(target, contents, read)


def _limit_memory() -> None:
    """Makes an allocation beyond MEMORY fail; address space, as Linux limits nothing else."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What libraries print goes to the log.
    warnings.simplefilter("ignore")

    def reply(*values: object) -> None:
        print(json.dumps(values), file=replies, flush=True)

    table, first, count, folder = sys.argv[1:]
    module, name = table.split(":")
    targets = getattr(importlib.import_module(module), name)
    numbers = range(int(first), int(first) + int(count))
    wanted = {target_of(number, targets) for number in numbers}
    benches = {
        name: _ready(target, Path(folder) / name.replace(" ", "-"))
        for name, target in targets.items()
        if name in wanted
    }
    with contextlib.suppress(OSError):  # No /proc: without the limit.
        _limit_memory()
    for number in numbers:
        reply(number)
        reply(number, *benches[target_of(number, targets)].outcome(number))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # Thread pools of libraries may take seconds to end.
