"""Contenders that compute nothing, for tests of the benchmark's harness."""

import os
import time

from benchmarks.workers import Task


def noting(options):
    """Writes its name to a file at each repetition."""

    def run():
        with open(options["file"], "a", encoding="utf-8") as file:
            file.write(f"{options['name']} {os.getpid()}\n")

    return Task(run, {"told": options["name"]})


def sleeping(options):
    """Takes as long as its variant's layout says, and twice that with its norms apart.

    Its `torch.compile` does not work.
    """
    variant = options["variant"]
    if variant["execution"] == "compiled":
        raise RuntimeError("no compiler")
    times = 2 if variant["norms"] == "apart" else 1
    return Task(lambda: time.sleep(times * options["seconds"][variant["layout"]]))


def printing(options):
    """Prints where answers would be, from Python and from below it."""

    def run():
        print("from Python")
        os.write(1, b"from below\n")

    return Task(run)
