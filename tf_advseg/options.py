"""What flags may be, and the flags of evaluate.py and export.py; `train_options` has train.py's.

No TensorFlow here. What a value is when it is not given, `config` says.
"""

import dataclasses

from tf_advseg.flags import (
    boolean,
    choice,
    flag,
    integer,
    name,
    numbers,
    size,
    switch,
    text,
)

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")

DISCRIMINATOR_OPTIMIZERS = ("adam", "sgd")

#: On how many devices and machines a run trains; see `training.strategy`.
AUTO, MIRRORED, MULTI_WORKER = STRATEGIES = ("auto", "mirrored", "multi_worker")

#: Steps in a point of the training curves.
LOG_EVERY = 20

#: How a training crop is drawn from an image; see `data.augment`.
CROP_RULES = ("scale", "area")

#: What of a validation image is seen; see `evaluation.protocols`.
FULL, PADDED, RANDOM_CROP = EVAL_PROTOCOLS = ("full", "padded", "random_crop")

#: Below it, both networks end in strided convolutions of a single pixel. TensorFlow's CPU build
#: reads memory that nobody wrote in their bfloat16 kernel gradients, at times a NaN.
MIN_CROP_SIZE = 17


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """The flags of evaluate.py."""

    run_dir: str | None = flag(None, text(), "folder of the run")
    checkpoint: str | None = flag(
        None, text(), "last, best, or a checkpoint's path [as the run says; else last]"
    )
    saved_model: str | None = flag(None, text(), "evaluate this export instead of a checkpoint")
    data_dir: str | None = flag(None, text(), "the data set's folder, if it moved")
    split: str | None = flag(None, name(), "list of images [the run's validation list]")
    eval_protocol: str | None = flag(
        None, choice(EVAL_PROTOCOLS), "what of an image is seen [as the run says]"
    )
    eval_size: tuple[int, int] | None = flag(
        None, size(), "of --eval_protocol padded and random_crop [as the run says]"
    )
    scales: tuple[float, ...] = flag((1.0,), numbers(), "average over these input scales")
    flip: bool = flag(False, switch(), "average with the mirrored image")
    sliding_window: tuple[int, int] | None = flag(
        None, size(), "predict in windows of this size, in pixels of the scaled image"
    )
    void_as_background: bool | None = flag(
        None, boolean(), "count void pixels as the class background [as the run says]"
    )
    batch_size: int | None = flag(
        None, integer(1), "images of one size predicted at once [1 on a CPU, up to 8 on a GPU]"
    )
    images: str | None = flag(None, text(), "segment the images in this folder (no labels)")
    save_masks: str | None = flag(None, text(), "write predictions as indexed PNG here")
    compare: str | None = flag(
        None, text(), "folder of a finished run, whose scores are shown beside this one's"
    )


#: Of the files of one request to an export: a 4K frame, 3840x2160, just fits.
MAX_PIXELS = 2**23


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The flags of export.py."""

    run_dir: str | None = flag(None, text(), "folder of the run")
    checkpoint: str | None = flag(
        None, text(), "last, best, or a checkpoint's path [as the run says; else last]"
    )
    output: str | None = flag(None, text(), "folder that the numbered version is written into")
    max_pixels: int = flag(
        MAX_PIXELS,
        integer(1, 2**31 - 1),
        "refuse requests whose JPEG and PNG files have more together, before any is decoded: they "
        "could exhaust the server",
    )
