"""Reads damaged copies of a Keras file, each in a process of its own, and prints how each ended.

`python -m tests.damage_keras_files FILE FOLDER SEED COUNT SECONDS`, with a limit for each process.
"""

import os
import random
import resource
import sys
from collections import Counter
from pathlib import Path

from tf_advseg.models import keras_reader


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """Returns a copy with changed bytes, a part left out or doubled, or an end that is cut off."""
    content = bytearray(raw)
    kind = rng.randrange(8)
    start = rng.randrange(len(raw))
    if kind == 0:
        return bytes(content[:start])
    if kind == 1:
        length = rng.choice((1, 4, 8, 64, 512))
        content[start : start + length] = content[rng.randrange(len(raw)) :][:length]
        return bytes(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # The first kilobytes hold the structure, what follows is mostly tensors.
        where = (
            rng.randrange(len(raw)) if rng.random() < 0.3 else rng.randrange(min(8192, len(raw)))
        )
        content[where] = rng.choice((0, 1, 0xFF, content[where] ^ 1 << rng.randrange(8)))
    return bytes(content)


def read_one(path: Path, output: Path, seconds: int) -> int:
    """Reads a file in a fork of this process; returns its exit code, or minus its signal."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        sys.argv[1:] = [str(path), str(output)]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        code = 1
        try:
            keras_reader.main()
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    source, folder = map(Path, sys.argv[1:3])
    seed, count, seconds = map(int, sys.argv[3:])
    raw, rng = source.read_bytes(), random.Random(seed)
    ends: Counter[int] = Counter()
    for number in range(count):
        path, output = folder / f"{number}.h5", folder / "out.npz"
        path.write_bytes(damaged(raw, rng))
        code = read_one(path, output, seconds)
        ends[code] += 1
        if code in (0, keras_reader.REFUSED):
            path.unlink()
        output.unlink(missing_ok=True)
    print(dict(ends))


if __name__ == "__main__":
    main()
