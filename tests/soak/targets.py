"""What reads files that others made: the originals, and the reader, of each kind.

A reader may return, raise InputError, or what else its target allows.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.folders import draw, indexed_label, make_voc_folder
from tests.torch_files import write_legacy, write_zip
from tf_advseg import config, flags
from tf_advseg.data import catalog, images, labels, splits
from tf_advseg.errors import InputError
from tf_advseg.evaluation import results
from tf_advseg.models import torch_file

Reader = Callable[[Path], object]


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader of files.

    Attributes:
      originals: (folder) -> files that it wrote there and that are to be damaged. The reader must
        accept each of them.
      reader: () -> what reads a damaged file, where its original was. It is called once a process.
      in_graph: whether TensorFlow may refuse a file itself, by an InvalidArgumentError.
    """

    originals: Callable[[Path], list[Path]]
    reader: Callable[[], Reader]
    in_graph: bool = False


def _images(folder: Path) -> list[Path]:
    """JPEG and PNG files of every kind that data sets have."""
    pixels, label = draw(np.random.default_rng(0), (40, 56), 4)
    picture = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds = {
        "plain.jpg": (picture, {}),
        "progressive.jpg": (picture, {"progressive": True}),
        "turned.jpg": (picture, {"exif": turned}),
        "grey.jpg": (picture.convert("L"), {}),
        "cmyk.jpg": (picture.convert("CMYK"), {}),
        "plain.png": (picture, {}),
        "alpha.png": (picture.convert("RGBA"), {}),
        "indexed.png": (indexed_label(label), {}),
        "deep.png": (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), {}),
    }
    for name, (image, options) in kinds.items():
        image.save(folder / name, **options)
    return [folder / name for name in kinds]


def _graph_image_reader() -> Reader:
    """As training does it: the header is checked, and the graph decodes."""
    import tensorflow as tf

    from tf_advseg.data.decode import decode_image

    decode = tf.function(
        decode_image, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
    )

    def read(path: Path) -> None:
        size = images.image_size(path)
        decoded = tuple(decode(path.read_bytes()).shape[:2])
        if decoded != size:
            raise AssertionError(f"checked as {size}, decoded as {decoded}")

    return read


def _served_reader() -> Reader:
    """As an export does it, with a limit that keeps every input cheap."""
    import tensorflow as tf

    from tf_advseg.serving.decoding import decode_batch

    decode = tf.function(
        functools.partial(decode_batch, max_pixels=2**20),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    return lambda path: decode([path.read_bytes()])


def _labels(folder: Path) -> list[Path]:
    """Label files of one data set; the labels are indexed or grey, of 8, 4 and 1 bit."""
    make_voc_folder(folder, train=4, val=1, size=(24, 32), num_classes=2)
    paths = [folder / "SegmentationClass" / f"train_{number}.png" for number in range(4)]
    label = np.array(Image.open(paths[0])) % 2
    grey = Image.fromarray(label)
    indexed_label(label, bits=4).save(paths[1], bits=4)
    grey.save(paths[2])
    Image.fromarray(label * 255).convert("1").save(paths[3])
    document = json.loads((folder / "classes.json").read_text())
    (folder / "classes.json").write_text(json.dumps({**document, "ignore_label": 255}))
    return paths


def _label_reader() -> Reader:
    def read(path: Path) -> None:
        dataset = catalog.folder(path.parents[1])
        [cached] = labels.prepare_labels(dataset, [path.stem])
        found = np.unique(np.asarray(Image.open(cached)))
        if not set(found.tolist()) <= {0, 1, 255}:
            raise AssertionError(f"the cached label has the values {found}")

    return read


def _graph_label_reader() -> Reader:
    """As training does it, with a cached label that was damaged since."""
    import tensorflow as tf

    from tf_advseg.data.decode import decode_label

    decode = tf.function(
        decode_label, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
    )
    return lambda path: decode(path.read_bytes())


def _lists(folder: Path) -> list[Path]:
    ids = [f"street_{number:03}" for number in range(20)]
    texts = {"plain.txt": "\n".join(ids), "windows.txt": "\ufeff" + "\r\n".join([*ids, "ä b", ""])}
    return [_written(folder / name, text) for name, text in texts.items()]


def _classes(folder: Path) -> list[Path]:
    make_voc_folder(folder / "data", train=1, val=1)
    return [folder / "data" / "classes.json"]


def _configs(folder: Path) -> list[Path]:
    settings = config.resolve({"method": "semi", "steps": 100})
    return [_written(folder / "run" / config.CONFIG_FILE, flags.to_json(settings))]


def _splits(folder: Path) -> list[Path]:
    split = splits.Split(("a", "b", "ä c"), ("d", "e"))
    return [_written(folder / config.SPLIT_FILE, split.to_json())]


def _results(folder: Path) -> list[Path]:
    path = folder / results.RESULTS_FILE
    results.write(path, {"steps": 40, "mean_iou": 0.5, "per_class_iou": {"sky": 0.5, "road": None}})
    return [path]


def _torch_files(folder: Path) -> list[Path]:
    rng = np.random.default_rng(1)
    state = {
        "conv1.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bn1.running_mean": rng.normal(size=4),
        "bn1.num_batches_tracked": np.array(7),
    }
    paths = [folder / "zip.pth", folder / "legacy.pth"]
    for write, path in zip((write_zip, write_legacy), paths):
        write(path, state)
    return paths


def _keras_files(folder: Path) -> list[Path]:
    path = folder / "weights.h5"
    _with_backbone().get_layer("backbone").save_weights(path)
    return [path]


def _with_backbone():
    """A segmenter whose backbone is a network of two layers."""
    import keras

    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    backbone = keras.Model(image, keras.layers.BatchNormalization(name="norm")(x), name="backbone")
    return keras.Model(image, keras.layers.Conv2D(3, 1, name="head")(backbone(image)))


def _keras_reader() -> Reader:
    from tf_advseg.models import pretrained

    segmenter = _with_backbone()

    def read(path: Path) -> None:
        if not pretrained.is_keras_file(path):
            raise InputError("taken for another kind of file")
        pretrained.load_weights(segmenter, "backbone", str(path))

    return read


def _tiny_networks():
    from tests.tiny_networks import tiny_discriminator, tiny_segmenter

    return tiny_segmenter(), tiny_discriminator()


def _checkpoints(folder: Path) -> list[Path]:
    """The files of a run's checkpoint: the names of the last ones, index and values."""
    import tensorflow as tf

    segmenter, discriminator = _tiny_networks()
    step = tf.Variable(5, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(segmenter=segmenter, discriminator=discriminator, step=step)
    written = folder / "run" / config.CHECKPOINTS
    manager = tf.train.CheckpointManager(checkpoint, str(written), 3, checkpoint_name="step")
    manager.save(checkpoint_number=5)
    return sorted(path for path in written.iterdir() if path.is_file())


def _checkpoint_reader() -> Reader:
    from tf_advseg import saved_run

    networks = _tiny_networks()

    def read(path: Path) -> None:
        prefix = saved_run.find_checkpoint(path.parents[1], "last")
        saved_run.restore_networks(prefix, *networks)

    return read


def _trainer():
    """A trainer of tiny networks, compiled."""
    from tf_advseg.recipe import Recipe
    from tf_advseg.training import optimizers
    from tf_advseg.training.trainer import AdversarialTrainer

    trainer = AdversarialTrainer(*_tiny_networks(), Recipe())
    trainer.compile(
        optimizers.segmenter_optimizer(0.05, 50), optimizers.discriminator_optimizer(0.05, 50)
    )
    return trainer


def _training_checkpoints(folder: Path) -> list[Path]:
    """Index and values of a checkpoint to go on with: optimizers too."""
    from tests.tiny_networks import random_batch
    from tf_advseg.training.checkpoints import Checkpoints

    trainer = _trainer()
    trainer.train_step(random_batch())
    Checkpoints(folder / "run", trainer).save()
    return sorted((folder / "run" / config.CHECKPOINTS).glob("step-*"))


def _resumed_reader() -> Reader:
    from tf_advseg.training.checkpoints import Checkpoints

    trainer = _trainer()
    # It only reads: as a worker that is not the chief.
    return lambda path: Checkpoints(path.parents[1], trainer, writes=False).restore()


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


#: name -> target. To add one, write what makes its originals and what reads them, and its line.
TARGETS = {
    "image": Target(_images, lambda: images.image_size),
    "image in the graph": Target(_images, _graph_image_reader, in_graph=True),
    "image of a request": Target(_images, _served_reader, in_graph=True),
    "label": Target(_labels, _label_reader),
    "label in the graph": Target(_labels, _graph_label_reader, in_graph=True),
    "list": Target(_lists, lambda: catalog.read_list),
    "classes.json": Target(_classes, lambda: catalog.read_classes),
    "config.json": Target(_configs, lambda: lambda path: config.stored_config(path.parent)),
    "split.json": Target(_splits, lambda: splits.stored),
    "results.json": Target(_results, lambda: results.read),
    "checkpoint": Target(_checkpoints, _checkpoint_reader),
    "checkpoint to go on with": Target(_training_checkpoints, _resumed_reader),
    "Keras .h5": Target(_keras_files, _keras_reader),
    "PyTorch .pth": Target(_torch_files, lambda: torch_file.read_torch_file),
}
