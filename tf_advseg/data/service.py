"""Reading training images on other machines, by tf.data service.

Servers: `python -m tf_advseg.data.service --port 5050` on one machine, and on more machines
`python -m tf_advseg.data.service --port 5050 --dispatcher HOST:5050`. A run reads through them with
`--data_service grpc://HOST:5050`. They read the image files and the cached labels by the paths that
the training machine has, so that all need one file system, and the same TF_ADVSEG_CACHE.
"""

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tf_advseg import cli, flags
from tf_advseg.errors import InputError, WorkerLost
from tf_advseg.flags import flag, integer, location, text

if TYPE_CHECKING:
    import tensorflow as tf

PROGRAM = "python -m tf_advseg.data.service"
_SCHEME = "grpc"
_OTHER = "what listens there is no service, or one of its further machines"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The flags of a server."""

    port: int = flag(5050, integer(0, 2**16 - 1), "where it listens; 0 takes a free one")
    dispatcher: str | None = flag(
        None,
        location(_SCHEME),
        "work for the server there [none: be the one that runs name, and work for it too]",
    )
    host: str | None = flag(None, text(), "how the other machines call this one [its host name]")


def wait_for(address: str, seconds: float = 60.0, *, flag_name: str = "--data_service") -> None:
    """Waits until a service answers: it may be starting.

    TensorFlow itself would wait for ever, and for another program on that port too.

    Args:
      address: "grpc://host:port".
      seconds: how long, at most.
      flag_name: the flag that gave the address.

    Raises:
      InputError: nothing answered, or something else than a service.
    """
    end = time.monotonic() + seconds
    while (wrong := _trouble(address, max(end - time.monotonic(), 0.1))) is not None:
        if (left := end - time.monotonic()) <= 0 or wrong == _OTHER:
            raise InputError(
                f"{flag_name} {address} cannot be used: {wrong}; allowed: the address of a "
                f"running `{PROGRAM}` without --dispatcher"
            )
        time.sleep(min(0.5, left))


@contextlib.contextmanager
def watched(address: str | None, seconds: float = 60.0) -> Iterator[None]:
    """Ends the training in this context when the service is gone; TensorFlow would wait for ever.

    Args:
      address: "grpc://host:port"; None for a run that reads by itself.
      seconds: how long the service may leave questions unanswered.

    Raises:
      WorkerLost: it is gone.
    """
    if address is None:
        yield
        return
    import tensorflow as tf
    from tensorflow.python.eager import cancellation  # What ends a function that waits.

    manager, done = cancellation.CancellationManager(), threading.Event()

    def watch() -> None:
        answered = time.monotonic()
        while not done.wait(seconds / 6):
            if _trouble(address, seconds / 6) is None:
                answered = time.monotonic()
            elif time.monotonic() - answered > seconds:
                manager.start_cancel()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        with cancellation.CancellationManagerContext(manager):
            yield
    except tf.errors.OpError as error:
        if not manager.is_cancelled:
            raise
        raise WorkerLost(
            f"--data_service {address} did not answer for {seconds:.0f} s; start it again, and "
            "go on with --resume"
        ) from error
    finally:
        done.set()
        watcher.join()


def _trouble(address: str, seconds: float) -> str | None:
    """Asks a service which machines read for it; returns None if any does, else what is wrong."""
    import grpc  # TensorFlow needs it too.

    with grpc.insecure_channel(address.removeprefix(f"{_SCHEME}://")) as channel:
        # Question and answer are protocol buffers; an empty one has no fields.
        ask = channel.unary_unary("/tensorflow.data.DispatcherService/GetWorkers")
        try:
            return None if ask(b"", timeout=seconds) else "no machine reads for it yet"
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return _OTHER
            return f"{error.code().name.lower().replace('_', ' ')}, {error.details()}"


def read_through(
    dataset: "tf.data.Dataset", address: str, job: str | None = None
) -> "tf.data.Dataset":
    """Returns the elements of a data set as a service reads them, in an order of its own.

    The machines of the service part the images among each other (dynamic sharding): each position
    is read once, and if a machine is lost, at most once. What a step sees therefore depends on how
    fast they are, and no longer follows from (seed, step) alone.

    Args:
      dataset: of TensorFlow's own operations only. Give it no end: machines drop what does not fill
        a batch, and of several readers one may take more than the others.
      address: "grpc://host:port".
      job: a name by which several readers share the elements; None for one that reads alone.
    """
    import tensorflow as tf

    from tf_advseg.data.pipeline import READY, untuned

    service = tf.data.experimental.service
    read = service.distribute(
        processing_mode=service.ShardingPolicy.DYNAMIC, service=address, job_name=job
    )
    return untuned(dataset.apply(read).prefetch(READY))


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Runs a server while the context is open, and gives the address that a run reads through.

    Raises:
      InputError: the port is taken, or the dispatcher cannot be reached.
    """
    import tensorflow as tf

    service = tf.data.experimental.service
    address = settings.dispatcher
    host = settings.host or socket.gethostname()
    dispatcher = None
    try:
        if address is None:
            config = service.DispatcherConfig(port=settings.port)
            dispatcher = service.DispatchServer(config)
            address = f"{_SCHEME}://{host}:{dispatcher.target.rsplit(':', 1)[1]}"
        else:
            wait_for(address, flag_name="--dispatcher")
        port = settings.port if settings.dispatcher else 0
        worker = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=address.removeprefix(f"{_SCHEME}://"),
                worker_address=f"{host}:%port%",
                port=port,
            )
        )
    except RuntimeError as error:
        raise InputError(f"--port {settings.port}: {error}; allowed: a free port") from None
    try:
        yield address
    finally:
        del worker, dispatcher  # A server stops when it is let go.


def main(argv: list[str] | None = None) -> None:
    description = "Read and augment training images for runs on other machines."
    given = flags.parse(Settings, argv, description, prog=PROGRAM)
    with running(Settings(**given)) as address:
        print(f"reading for train.py --data_service {address}", flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    cli.run(main, stopped="stopped")
