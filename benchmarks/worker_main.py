"""The process of one contender: prepares its task once, and then runs it whenever it is told to.

It is told over standard input, one word a line, and answers on standard output, one JSON object a
line. In between it waits in a read, so that it takes no processor time from the others. It ends
when its input does, and so does not outlive the command that started it.
"""

import os
import sys

if __name__ == "__main__":
    # Before anything imports a library that counts the cores to size its thread pool.
    cores = [int(core) for core in sys.argv[1].split(",") if core]
    if cores:
        os.sched_setaffinity(0, cores)

import gc
import importlib
import json
import time
from typing import Any

from benchmarks.workers import Task, busy_seconds, peak_memory_bytes, used_seconds


def main() -> None:
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # What libraries print goes to the log, also where C++ prints it.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def reply(**values: Any) -> None:
        print(json.dumps(values), file=replies, flush=True)

    began = time.perf_counter()
    order = json.loads(sys.stdin.readline())
    module, function = order["target"].split(":")
    prepare = getattr(importlib.import_module(module), function)
    after_imports = {
        "import_seconds": time.perf_counter() - began,
        "import_memory_bytes": peak_memory_bytes(),
    }
    task: Task = prepare(order["options"])
    for _ in range(order["warmup"]):
        task.run()
    gc.collect()
    reply(
        facts={
            **after_imports,
            **task.facts,
            "prepare_seconds": time.perf_counter() - began,
        }
    )
    own_since = used_seconds()
    for line in sys.stdin:
        assert line.strip() == "run"
        own, busy = used_seconds(), busy_seconds()
        start = time.perf_counter()
        task.run()
        seconds = time.perf_counter() - start
        used, all_used = used_seconds() - own, busy_seconds() - busy
        reply(
            seconds=seconds,
            cpu_seconds=used,
            # The counters of the whole machine tick in hundredths of a second.
            others_cpu_seconds=max(0.0, all_used - used),
            idle_cpu_seconds=own - own_since,
            peak_memory_bytes=peak_memory_bytes(),
        )
        own_since = used_seconds()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Thread pools of some libraries take seconds to end, or hang.
    os._exit(0)
