"""What training runs on."""

import os
import resource
import sys
from pathlib import Path

import tensorflow as tf

_DRIVER_FILES = (Path("/dev/nvidia0"), Path("/proc/driver/nvidia/version"), Path("/dev/dxg"))


def describe(replicas: int = 1, workers: int = 1) -> str:
    """Returns the devices that TensorFlow sees, and how the work is parted, in words.

    Args:
      replicas: of the networks, on all machines together.
      workers: machines.
    """
    parted = f"; {replicas} replicas" if replicas > 1 else ""
    parted += f" on {workers} workers" if workers > 1 else ""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"CPU, {os.cpu_count()} cores{parted}"
    names = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus
    ]
    return ", ".join(names) + parted


def missing_gpu() -> str | None:
    """Returns a warning if this machine has an NVIDIA driver but TensorFlow sees no GPU."""
    if tf.config.list_physical_devices("GPU") or not any(p.exists() for p in _DRIVER_FILES):
        return None
    return (
        "this machine has an NVIDIA driver, but TensorFlow sees no GPU and will use the CPU; "
        "install requirements-gpu.txt, or set CUDA_VISIBLE_DEVICES to a GPU"
    )


def peak_memory_bytes() -> int:
    """Returns the most memory used so far: of the first GPU, or of this process without one."""
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
