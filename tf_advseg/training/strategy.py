"""On which devices and machines a run trains: TensorFlow's strategies, by our own names."""

from collections.abc import Callable

import tensorflow as tf

from tf_advseg.cluster import Cluster, wait_for_all
from tf_advseg.data.positions import WHOLE, Share
from tf_advseg.errors import InputError
from tf_advseg.options import AUTO, MIRRORED, MULTI_WORKER


def choose(name: str, cluster: Cluster, batch_size: int) -> tf.distribute.Strategy:
    """Returns the strategy of a run. Call it before anything is computed with TensorFlow.

    Where there are several workers, it waits until all of them have called it.

    Args:
      name: one of `options.STRATEGIES`. "auto" is multi_worker if there are several workers, else
        mirrored if there are several GPUs, else TensorFlow's default, which is no strategy.
      cluster: the workers.
      batch_size: of a step. All replicas get equal parts of it; "auto" leaves GPUs out for that.

    Raises:
      InputError: "mirrored" on a machine that has one device; this worker's port is taken; or a
        batch cannot be parted.
      WorkerLost: the other workers did not come in time.
    """
    if cluster.size > 1:
        wait_for_all(cluster)
    if cluster.size > 1 or name == MULTI_WORKER:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = _of_one_machine(name, batch_size)
    check_batch_size(batch_size, strategy)
    return strategy


def most_of(devices: list[str], batch_size: int) -> list[str]:
    """Returns as many of the devices as can have equal parts of a batch."""
    counts = range(len(devices), 0, -1)
    return devices[: next((count for count in counts if batch_size % count == 0), 0)]


def _of_one_machine(name: str, batch_size: int) -> tf.distribute.Strategy:
    devices = _devices(name)
    if name == MIRRORED and len(devices) < 2:
        raise InputError(
            f"--strategy {MIRRORED} needs several GPUs, and TensorFlow sees {len(devices)} device; "
            f"allowed: {AUTO}"
        )
    used = most_of(devices, batch_size) if name == AUTO else devices
    if len(used) < len(devices):
        print(
            f"{len(used)} of {len(devices)} GPUs are used: --batch_size {batch_size} is no "
            f"multiple of more"
        )
    return tf.distribute.MirroredStrategy(used) if len(used) > 1 else tf.distribute.get_strategy()


def check_batch_size(batch_size: int, strategy: tf.distribute.Strategy) -> None:
    """Raises InputError if a batch cannot be parted among the replicas alike."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(
            f"--batch_size {batch_size} is for all {replicas} replicas together; "
            f"allowed: a multiple of {replicas}, or fewer GPUs (CUDA_VISIBLE_DEVICES=0,1)"
        )


def batches_for(
    strategy: tf.distribute.Strategy, read: Callable[[Share], tf.data.Dataset]
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Returns what `fit` takes under a strategy: each replica gets its piece of every batch.

    Args:
      strategy: of the trainer.
      read: a share of each batch -> its pieces, in the order of the replicas.
    """
    if strategy.num_replicas_in_sync == 1:
        return read(WHOLE)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        workers = context.num_input_pipelines
        pieces = context.num_replicas_in_sync // workers
        return read(Share(context.input_pipeline_id, workers, pieces))

    return strategy.distribute_datasets_from_function(of_worker)


def _devices(name: str) -> list[str]:
    """Returns the GPUs; for "mirrored" the CPUs if there are none, of which tests make several."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus or name != MIRRORED:
        return [f"GPU:{index}" for index in range(len(gpus))]
    return [f"CPU:{index}" for index in range(len(tf.config.list_logical_devices("CPU")))]
