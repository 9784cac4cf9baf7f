"""The machines that train one run together, as TF_CONFIG names them. No TensorFlow here.

TF_CONFIG is JSON: {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index":
0}}. Each machine runs the same command, with an index of its own. See
https://www.tensorflow.org/guide/distributed_training#TF_CONFIG.
"""

import contextlib
import dataclasses
import re
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from tf_advseg import textfile
from tf_advseg.errors import InputError, WorkerLost
from tf_advseg.options import AUTO, MULTI_WORKER

TF_CONFIG = "TF_CONFIG"
_ALLOWED = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": N}}'
_JOBS = ("chief", "worker")
_ADDRESS = re.compile(r"[^\s/]+:\d+")
_GREETING = 40  # Bytes.
_ANSWER_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes that train one run, one on each machine, and which of them this one is.

    Attributes:
      workers: "host:port" of each, the chief first.
      index: of this process among them.
    """

    workers: tuple[str, ...] = ("",)
    index: int = 0

    @property
    def size(self) -> int:
        """Number of workers; 1 where a process trains alone."""
        return len(self.workers)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.index == 0


#: A process that trains alone.
ALONE = Cluster()


def of_run(strategy: str, environ: Mapping[str, str]) -> Cluster:
    """Returns the workers of a run with this --strategy; ALONE if it is one process.

    Args:
      strategy: one of `options.STRATEGIES`.
      environ: the environment, which may hold TF_CONFIG.

    Raises:
      InputError: TF_CONFIG is wrong, missing where the strategy needs it, or names several workers
        where the strategy has one.
    """
    text = environ.get(TF_CONFIG, "")
    if not text.strip() or (strategy == AUTO and text.strip() == "{}"):
        if strategy == MULTI_WORKER:
            raise InputError(f"--strategy {MULTI_WORKER} needs {TF_CONFIG}; allowed: {_ALLOWED}")
        return ALONE
    cluster = parse(text)
    if strategy in (AUTO, MULTI_WORKER):
        return cluster if cluster.size > 1 else ALONE
    if cluster.size > 1:
        raise InputError(
            f"--strategy {strategy} beside a {TF_CONFIG} of {cluster.size} workers; allowed: "
            f"{AUTO} or {MULTI_WORKER}, or no {TF_CONFIG}"
        )
    return ALONE


def parse(text: str) -> Cluster:
    """Returns what the text of TF_CONFIG says.

    Raises:
      InputError: it is no JSON object, has no cluster or task, names a job that does not train or a
        wrong address, or its task is none of the cluster's.
    """
    try:
        config = textfile.parse_json(text)
    except ValueError as error:
        raise _refusal(f"is no JSON: {error}") from None
    jobs, task = _mapping(config, "cluster"), _mapping(config, "task")
    if unknown := sorted(set(jobs) - set(_JOBS)):
        raise _refusal(f"has the job {unknown[0]!r} in its cluster")
    job, index = task.get("type"), task.get("index")
    if job not in jobs:
        raise _refusal(f"has task type {job!r}, which its cluster has not")
    if type(index) is not int or not 0 <= index < len(_addresses(jobs, job)):
        count = len(_addresses(jobs, job))
        raise _refusal(f"has task index {index!r}, but {count} of job {job!r}")
    workers = [address for name in _JOBS if name in jobs for address in _addresses(jobs, name)]
    if len(set(workers)) < len(workers):
        raise _refusal("names an address twice")
    before = len(_addresses(jobs, "chief")) if job == "worker" and "chief" in jobs else 0
    return Cluster(tuple(workers), before + index)


def wait_for_all(cluster: Cluster, seconds: float = 900.0) -> None:
    """Waits until every worker has called this, at most so long.

    TensorFlow would wait for ever, and neither Ctrl-C nor SIGTERM would end it. For this moment
    each worker listens on its own port of TF_CONFIG, and says there who it is.

    Raises:
      InputError: this worker's port is taken.
      WorkerLost: others did not come.
    """
    others = [index for index in range(cluster.size) if index != cluster.index]
    addresses = ", ".join(cluster.workers[index] for index in others)
    print(
        f"waiting for {len(others)} of the {cluster.size} workers of {TF_CONFIG}: {addresses}",
        flush=True,
    )
    heard: set[bytes] = set()
    met: set[int] = set()
    own, done = _greeting(cluster, cluster.index), threading.Event()
    with _listening(cluster) as server:
        listener = threading.Thread(target=_listen, args=(server, own, heard, done), daemon=True)
        listener.start()
        try:
            end = time.monotonic() + seconds
            while missing := [
                index
                for index in others
                if index not in met or _greeting(cluster, index) not in heard
            ]:
                if time.monotonic() > end:
                    addresses = ", ".join(cluster.workers[index] for index in missing)
                    raise WorkerLost(
                        f"{len(missing)} of the {cluster.size} workers of {TF_CONFIG} did not come "
                        f"in {seconds:.0f} s: {addresses}"
                    )
                for index in missing:
                    if _answers(cluster.workers[index], own):
                        met.add(index)
                time.sleep(0.1)
        finally:
            done.set()
            listener.join()


def _greeting(cluster: Cluster, index: int) -> bytes:
    return f"worker {index} of {cluster.size}".ljust(_GREETING).encode()


def _listening(cluster: Cluster) -> socket.socket:
    port = int(cluster.workers[cluster.index].rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{TF_CONFIG} gives this worker port {port}: {error}; allowed: a free port"
        ) from None
    server.settimeout(0.1)
    return server


def _listen(server: socket.socket, own: bytes, heard: set[bytes], done: threading.Event) -> None:
    """Answers whoever calls with the own greeting, and collects theirs."""
    while not done.is_set():
        with contextlib.suppress(OSError):
            caller, _ = server.accept()
            with caller:
                caller.settimeout(_ANSWER_SECONDS)
                caller.sendall(own)
                heard.add(caller.recv(_GREETING, socket.MSG_WAITALL))


def _answers(address: str, own: bytes) -> bool:
    """Tells the worker there who this one is; returns whether it answered."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS) as peer:
            peer.sendall(own)
            return len(peer.recv(_GREETING, socket.MSG_WAITALL)) == _GREETING
    except (OSError, OverflowError):
        return False


def _mapping(config: Any, key: str) -> Mapping[str, Any]:
    found = config.get(key) if isinstance(config, Mapping) else None
    if not isinstance(found, Mapping) or not found:
        raise _refusal(f"has no {key}")
    return found


def _addresses(jobs: Mapping[str, Any], job: str) -> list[str]:
    addresses = jobs[job]
    if not isinstance(addresses, list) or not addresses:
        raise _refusal(f"has no list of addresses for job {job!r}")
    for address in addresses:
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
            raise _refusal(f"has the address {address!r}")
    if job == "chief" and len(addresses) > 1:
        raise _refusal(f"has {len(addresses)} chiefs")
    return addresses


def _refusal(wrong: str) -> InputError:
    return InputError(f"{TF_CONFIG} {wrong}; allowed: {_ALLOWED}")
