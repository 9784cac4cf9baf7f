"""Processes on this machine that work together, each with a TF_CONFIG of its own."""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from tests.runs import ROOT


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


def tf_config(ports: Sequence[int], index: int) -> str:
    """Returns the TF_CONFIG of one of the workers on these ports."""
    workers = [f"localhost:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


@contextlib.contextmanager
def workers(
    command: Sequence[str], count: int = 2, env: Mapping[str, str] | None = None
) -> Iterator[list[subprocess.Popen]]:
    """Runs a command as each of `count` workers, the chief first; none outlives the context."""
    ports = free_ports(count)
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {}), "TF_CONFIG": tf_config(ports, index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def finish(process: subprocess.Popen, timeout: float = 240) -> tuple[int, str, str]:
    """Waits for the end of a process; returns its exit code, output and errors."""
    output, errors = process.communicate(timeout=timeout)
    return process.returncode, output, errors
