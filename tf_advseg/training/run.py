"""One training run: from a configuration and its files to a finished run folder."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_advseg import checkpoint_files, flags, textfile
from tf_advseg.cluster import ALONE, Cluster
from tf_advseg.config import CHECKPOINTS, CLASSES_FILE, CONFIG_FILE, SPLIT_FILE
from tf_advseg.data import service
from tf_advseg.data.files import TrainingFiles
from tf_advseg.errors import InputError
from tf_advseg.evaluation import results as results_file
from tf_advseg.lock import locked
from tf_advseg.models.segmenter import normalization_of
from tf_advseg.saved_run import build_networks
from tf_advseg.train_options import TrainConfig
from tf_advseg.training import averages, devices, initial_weights, optimizers
from tf_advseg.training import strategy as strategies
from tf_advseg.training.checkpoints import Checkpoints
from tf_advseg.training.precision import default_precision
from tf_advseg.training.session import Session
from tf_advseg.training.synchronized import synchronized
from tf_advseg.training.trainer import AdversarialTrainer
from tf_advseg.training.workers import Workers


def train(
    config: TrainConfig, files: TrainingFiles, cluster: Cluster = ALONE, command: str = ""
) -> dict[str, Any]:
    """Trains to the last step, from the run folder's last checkpoint if it has one.

    Of several workers each calls it; they train one run, and the chief writes it.

    Args:
      config: every setting of the run.
      files: its data, checked.
      cluster: the workers.
      command: by which the user asked for it, to be shown in TensorBoard.

    Returns:
      the values of the results.json that it writes.

    Raises:
      InputError: an image that cannot be read, pretrained weights that do not fit, a batch that
        cannot be parted, a data service that cannot be reached, checkpoints of which none can be
        read, or a folder that another process trains in, that is full, or not to be written to.
      Interrupted: by Ctrl-C or SIGTERM, after a checkpoint.
      WorkerLost: another worker is gone.
    """
    if config.data_service:
        service.wait_for(config.data_service)
    strategy = strategies.choose(config.strategy, cluster, config.batch_size)
    workers = Workers(strategy, cluster)
    with workers.naming_lost():
        return _train(config, files, strategy, workers, command)


def _train(
    config: TrainConfig,
    files: TrainingFiles,
    strategy: tf.distribute.Strategy,
    workers: Workers,
    command: str,
) -> dict[str, Any]:
    config = dataclasses.replace(config, precision=config.precision or default_precision())
    used = devices.describe(strategy.num_replicas_in_sync, workers.count)
    print(f"training on {used}, in {config.precision}")
    if warning := devices.missing_gpu():
        print(f"warning: {warning}", file=sys.stderr)
    run_dir = Path(config.run_dir)
    with _alone_in(run_dir) if workers.is_chief else contextlib.nullcontext():
        if not config.resume and (run_dir / CONFIG_FILE).exists():
            # Begun since the flags were checked.
            raise InputError(f"--run_dir {run_dir} holds a run; go on with it by --resume")
        return _train_in(run_dir, config, files, strategy, workers, command)


def _train_in(
    run_dir: Path,
    config: TrainConfig,
    files: TrainingFiles,
    strategy: tf.distribute.Strategy,
    workers: Workers,
    command: str,
) -> dict[str, Any]:
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    with strategy.scope():
        if checkpoint_files.steps(run_dir / CHECKPOINTS):
            trainer = build_trainer(config, len(files.classes))
        else:
            config, trainer = _begin(config, files.classes.names)
    # Only now: a run that could not begin leaves an empty folder, which can be used again. And
    # every worker has looked into the folder before the chief writes to it.
    checkpoints = Checkpoints(run_dir, trainer, writes=workers.is_chief)
    with _writing_to(run_dir):
        first_step = checkpoints.restore()
    if first_step:
        print(f"resumed at step {first_step} of {config.steps}")
    if first_step > config.steps:
        raise InputError(
            f"--steps {config.steps}: the run in {run_dir} is at step {first_step}; "
            f"allowed: at least {first_step}"
        )
    if workers.is_chief:
        with _writing_to(run_dir):
            checkpoints.require_room()
            _write_settings(run_dir, config, files)
    session = Session(config, files, trainer, checkpoints, first_step, workers, command)
    results = session.run()
    if workers.is_chief:
        with _writing_to(run_dir):
            results_file.write(run_dir / results_file.RESULTS_FILE, results)
    return results


def _begin(
    config: TrainConfig, class_names: tuple[str, ...]
) -> tuple[TrainConfig, AdversarialTrainer]:
    """Returns a new run's trainer with its initial weights, and what those decided."""
    weights = initial_weights.look(config)
    config = dataclasses.replace(
        config,
        backbone_style=weights.style,
        normalization=config.normalization or weights.normalization,
    )
    trainer = build_trainer(config, len(class_names))
    for line in initial_weights.load(trainer.segmenter, config, weights, class_names):
        print(line)
    if trainer.averaged is not None:
        averages.restart(trainer.averaged, trainer.segmenter)
    normalization = normalization_of(trainer.segmenter)
    if weights.normalization not in (None, normalization):
        print(
            f"warning: --weights were trained with --normalization {weights.normalization}, "
            f"and get {normalization}",
            file=sys.stderr,
        )
    return dataclasses.replace(config, normalization=normalization), trainer


def build_trainer(config: TrainConfig, num_classes: int) -> AdversarialTrainer:
    """Builds both networks with random weights, and their trainer, compiled.

    Under a strategy's scope, it trains on all of its replicas.
    """
    segmenter, discriminator = build_networks(config, num_classes, config.precision)
    recipe, averaged = config.recipe(), None
    if recipe.ema_decay:
        averaged, _ = build_networks(config, num_classes, config.precision)
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        segmenter = synchronized(segmenter)  # The discriminator has no batch norm.
    trainer = AdversarialTrainer(
        segmenter, discriminator, recipe, averaged=averaged, seed=config.seed
    )
    schedule = {"power": config.poly_power, "precision": config.precision}
    trainer.compile(
        optimizers.segmenter_optimizer(
            config.learning_rate,
            config.steps,
            momentum=config.momentum,
            nesterov=config.nesterov,
            **schedule,
        ),
        optimizers.discriminator_optimizer(
            config.discriminator_learning_rate,
            config.steps,
            name=config.discriminator_optimizer,
            betas=config.discriminator_betas,
            momentum=config.discriminator_momentum,
            step=trainer.step,
            **schedule,
        ),
    )
    return trainer


def _write_settings(run_dir: Path, config: TrainConfig, files: TrainingFiles) -> None:
    """Writes what the run is, so that evaluation and export need nothing but its folder."""
    # First what makes it a run: one that is killed in between can be resumed.
    settings = dataclasses.replace(config, resume=False, profile=None)
    textfile.write(run_dir / CONFIG_FILE, flags.to_json(settings))
    textfile.write(run_dir / CLASSES_FILE, files.classes.to_json())
    textfile.write(run_dir / SPLIT_FILE, files.split.to_json())


@contextlib.contextmanager
def _alone_in(run_dir: Path) -> Iterator[None]:
    """Makes a run's folder, and lets no other process train there meanwhile.

    Raises:
      InputError: one does, or the folder cannot be made.
    """
    with _writing_to(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
    refusal = f"another process trains the run in --run_dir {run_dir}; allowed: another folder"
    with locked(run_dir, refusal):
        for path in filter(textfile.is_unfinished, run_dir.iterdir()):
            path.unlink()  # Of a process that was killed.
        yield


@contextlib.contextmanager
def _writing_to(run_dir: Path) -> Iterator[None]:
    """Names the folder where it cannot be written to.

    Raises:
      InputError: instead of the system's error.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write to --run_dir {run_dir}: {error.strerror}") from None
