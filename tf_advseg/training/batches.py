"""The batches of a run, read by the process that trains on them or by a tf.data service."""

import dataclasses
import hashlib
from pathlib import Path

import tensorflow as tf

from tf_advseg.data import pipeline, service
from tf_advseg.data.files import TrainingFiles
from tf_advseg.data.positions import Share
from tf_advseg.models.segmenter import padding_color
from tf_advseg.recipe import COIN_FLIP
from tf_advseg.train_options import TrainConfig
from tf_advseg.training import strategy as strategies
from tf_advseg.training.trainer import AdversarialTrainer


@dataclasses.dataclass(frozen=True)
class Source:
    """What decides every pixel of a run's batches; the arguments of `pipeline.training_dataset`."""

    labeled: tuple[tuple[Path, Path], ...]
    unlabeled: tuple[Path, ...]
    views: pipeline.Views
    batch_size: int
    seed: int
    first_step: int
    steps: int | None
    one_kind: bool


def source_of(
    config: TrainConfig,
    files: TrainingFiles,
    first_step: int,
    void_class: int | None,
    padding_color: tuple[float, float, float],
) -> Source:
    """Returns what the steps from `first_step` on read.

    Args:
      config: of the run.
      files: of the run.
      first_step: the first that is left.
      void_class: the class id that void pixels count as; None to leave them void.
      padding_color: RGB in 0-255.
    """
    views = pipeline.Views(
        config.crop_size,
        config.crop_rule,
        config.input_scale,
        config.random_scale,
        config.random_flip,
        void_class,
        padding_color,
        config.distortion if config.recipe().teacher else None,
        config.cutmix,
    )
    return Source(
        tuple(files.labeled.pairs()),
        files.unlabeled,
        views,
        config.batch_size,
        config.seed,
        first_step,
        config.steps,
        config.recipe().mixing == COIN_FLIP,
    )


def for_fit(
    trainer: AdversarialTrainer,
    config: TrainConfig,
    files: TrainingFiles,
    first_step: int,
    void_class: int | None,
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Returns the batches of the steps that are left, as `trainer.fit` takes them.

    Args:
      trainer: under whose strategy each replica gets its piece of every batch.
      config, files, first_step, void_class: as for `source_of`.
    """
    source = source_of(config, files, first_step, void_class, padding_color(trainer.segmenter))

    def of_share(share: Share) -> tf.data.Dataset:
        if config.data_service:
            return read_by_service(source, share, config.data_service, Path(config.run_dir))
        return read(source, share)

    return strategies.batches_for(trainer.distribute_strategy, of_share)


def read(source: Source, share: Share) -> tf.data.Dataset:
    """Returns a share of each batch, as `pipeline.training_dataset` does."""
    options = {field.name: getattr(source, field.name) for field in dataclasses.fields(source)}
    return pipeline.training_dataset(**options, share=share)


def read_by_service(source: Source, share: Share, address: str, run_dir: Path) -> tf.data.Dataset:
    """Returns batches that no other share gets, without end, of a data set that all shares read.

    Args:
      source: what is read; the same for all shares.
      share: whose; its pieces are as large as those of `read`.
      address: of the service, "grpc://host:port".
      run_dir: of the run; other runs read apart from it.
    """
    # Out of order, a batch does not know its step, nor the kind that its step uses.
    source = dataclasses.replace(source, steps=None, one_kind=False)
    whole = Share(pieces=share.of * share.pieces)
    job = None
    if share.of > 1:
        # A service that knows a job's name gives what it read for it before, whatever it is asked
        # for now. So the name says what is read, of which another run in the folder may differ.
        digest = hashlib.sha256(repr((source, whole)).encode()).hexdigest()
        job = f"{run_dir.resolve()} {digest}"
    return service.read_through(read(source, whole), address, job)
