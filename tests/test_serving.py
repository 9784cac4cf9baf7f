"""The exported model: its signatures, what they give, and the check before it is handed out."""

import io
import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from tests.folders import COLORS
from tf_advseg import config as configuration
from tf_advseg import flags
from tf_advseg.data.classes import Classes
from tf_advseg.errors import InputError
from tf_advseg.models.discriminator import build_discriminator
from tf_advseg.models.segmenter import build_segmenter
from tf_advseg.saved_run import SavedRun, load_run
from tf_advseg.serving import exporter, warmup
from tf_advseg.serving.module import ServingModule
from tf_advseg.training.checkpoints import Checkpoints
from tf_advseg.training.run import build_trainer

CLASSES = Classes("toy", ("sky", "road", "Straße"), COLORS[:3])
OUTPUTS = ("class_ids", "probabilities", "confidence")


def randomize(model, seed=0):
    """Gives every weight a value that shows, batch norm's statistics too."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name, shape = weight.name.split(":")[0], weight.shape
        if name.endswith(("variance", "gamma")):
            value = rng.uniform(0.5, 1.5, shape)
        elif name.endswith(("mean", "beta", "bias")):
            value = rng.normal(0, 0.3, shape)
        else:
            value = rng.normal(0, np.sqrt(1.5 / np.prod(shape[:-1])), shape)
        weight.assign(value)


def tiny_run(*, method="semi", input_scale=1.0):
    """A run with random weights, as `load_run` returns it."""
    settings = configuration.resolve({"method": method, "input_scale": input_scale})
    segmenter = build_segmenter("small", num_classes=3)
    randomize(segmenter)
    discriminator = None
    if settings.recipe().uses_discriminator:
        discriminator = build_discriminator(3)
        randomize(discriminator, seed=1)
    return SavedRun(settings, CLASSES, segmenter, discriminator, "none", 7)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A run with a discriminator, and its export's folder."""
    run = tiny_run()
    return run, exporter.export(run, tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="module")
def model(exported):
    return tf.saved_model.load(str(exported[1]))


@pytest.fixture(scope="module")
def serve(model):
    return model.signatures["serving_default"]


def picture(height, width, batch=1, seed=0):
    """Random pixels, smooth enough to survive a JPEG: uint8 [B, H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (batch, -(-height // 8), -(-width // 8), 3), np.uint8)
    return coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width]


def file_bytes(image, kind, **options):
    """Encodes a Pillow image or pixels [H, W, 3]."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data):
    """Decodes a file by Pillow, as RGB."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def arrays(outputs):
    return {name: value.numpy() for name, value in outputs.items()}


def assert_same(actual, expected):
    for name in OUTPUTS:
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


def test_signatures_have_the_agreed_names_types_and_shapes(model):
    assert set(model.signatures) == {"serving_default", "encoded", "mask", "metadata"}

    def inputs(name):
        return model.signatures[name].structured_input_signature[1]

    def outputs(name):
        specs = model.signatures[name].structured_outputs
        return {key: (spec.dtype, tuple(spec.shape)) for key, spec in specs.items()}

    assert inputs("serving_default") == {
        "image": tf.TensorSpec([None, None, None, 3], tf.uint8, "image")
    }
    segmented = {
        "class_ids": (tf.int32, (None,) * 3),
        "probabilities": (tf.float32, (None, None, None, 3)),
        "confidence": (tf.float32, (None,) * 3),
    }
    assert outputs("serving_default") == outputs("encoded") == segmented
    for name in ("encoded", "mask"):
        assert inputs(name) == {"image_bytes": tf.TensorSpec([None], tf.string, "image_bytes")}
    assert outputs("mask") == {"mask_bytes": (tf.string, (None,))}
    assert inputs("metadata") == {}


def test_nothing_of_keras_is_saved_but_the_weights(exported):
    """Keras would add a graph for each layer, which no signature calls."""
    run, version = exported
    assert not (version / "keras_metadata.pb").exists()
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    nodes = saved.meta_graphs[0].object_graph_def.nodes
    identifiers = {node.user_object.identifier for node in nodes}
    assert not [name for name in identifiers if name.startswith("_tf_keras")]
    weights = [*run.segmenter.weights, *run.discriminator.weights]
    assert sum(node.HasField("variable") for node in nodes) == len(weights)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 7), (1, 64, 48), (2, 33, 40), (1, 1, 90)])
def test_export_equals_the_keras_model(exported, serve, shape):
    run, _ = exported
    batch, height, width = shape
    image = picture(height, width, batch)
    served = arrays(serve(image=image))
    probabilities = tf.nn.softmax(run.segmenter(image.astype(np.float32)))
    confidence = tf.sigmoid(run.discriminator(probabilities))[..., 0]
    np.testing.assert_allclose(served["probabilities"], probabilities, atol=1e-5)
    np.testing.assert_allclose(served["confidence"], confidence, atol=1e-5)
    np.testing.assert_array_equal(served["class_ids"], served["probabilities"].argmax(-1))
    np.testing.assert_allclose(served["probabilities"].sum(-1), 1, atol=1e-5)
    assert served["class_ids"].shape == shape


def test_images_differ_so_that_the_tests_above_mean_something(serve):
    served = arrays(serve(image=picture(64, 48)))
    assert len(np.unique(served["class_ids"])) > 1
    assert served["confidence"].std() > 1e-3
    assert served["confidence"].min() > 0 and served["confidence"].max() < 1


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 90}), ("JPEG", {"progressive": True}), ("PNG", {})]
)
def test_encoded_equals_pixels_decoded_by_pillow(model, serve, kind, options):
    data = [file_bytes(picture(30, 44, seed=s)[0], kind, **options) for s in (1, 2)]
    expected = arrays(serve(image=np.stack([pixels(d) for d in data])))
    assert_same(arrays(model.signatures["encoded"](image_bytes=tf.constant(data))), expected)


def test_encoded_takes_images_as_they_are_shown(model, serve):
    image = Image.fromarray(picture(30, 44)[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned by a quarter, clockwise.
    turned = file_bytes(image, "JPEG", exif=exif)
    grey = image.convert("L")
    see_through = image.copy()
    see_through.putalpha(grey)
    for data, shown in (
        (turned, pixels(turned).transpose(1, 0, 2)[:, ::-1]),
        (file_bytes(grey, "PNG"), np.asarray(grey.convert("RGB"))),
        (file_bytes(see_through, "PNG"), np.asarray(image)),
    ):
        served = arrays(model.signatures["encoded"](image_bytes=tf.constant([data])))
        assert_same(served, arrays(serve(image=shown[np.newaxis])))


def test_mask_is_a_png_of_class_ids(model, serve):
    image = picture(30, 44, batch=2)
    data = tf.constant([file_bytes(one, "PNG") for one in image])
    masks = model.signatures["mask"](image_bytes=data)["mask_bytes"].numpy()
    decoded = [Image.open(io.BytesIO(mask)) for mask in masks]
    assert [(mask.format, mask.mode) for mask in decoded] == [("PNG", "L")] * 2
    class_ids = serve(image=image)["class_ids"].numpy()
    np.testing.assert_array_equal(np.stack([np.asarray(mask) for mask in decoded]), class_ids)


@pytest.mark.parametrize("name", ["encoded", "mask"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            [file_bytes(picture(30, 44)[0], "PNG"), file_bytes(picture(31, 44)[0], "PNG")],
            "one size, .* 30x44, 31x44",
        ),
        ([b""], "image 0 is empty"),
        ([b"a text, and no picture"], "neither a JPEG nor a PNG"),
        ([file_bytes(picture(64, 64)[0], "JPEG")[:400]], "JPEG"),
        (
            [file_bytes(Image.new("L", (4000, 5000)), "PNG")],
            "5000x4000 pixels; allowed: 8388608",
        ),
    ],
    ids=["sizes", "empty", "text", "cut off", "large"],
)
def test_wrong_bytes_are_an_error_and_the_next_call_works(model, name, data, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        model.signatures[name](image_bytes=tf.constant(data))
    good = tf.constant([file_bytes(picture(30, 44)[0], "PNG")])
    assert len(next(iter(model.signatures[name](image_bytes=good).values()))) == 1


def test_metadata_says_what_the_model_is(exported, model):
    metadata = arrays(model.signatures["metadata"]())
    assert [name.decode() for name in metadata["class_names"]] == ["sky", "road", "Straße"]
    assert metadata["class_colors"].tolist() == [list(color) for color in COLORS[:3]]
    assert metadata["void_label"] == 255
    assert metadata["confidence_source"] == b"discriminator"
    assert metadata["max_pixels"] == 2**23
    config = json.loads(metadata["config"])
    trained = json.loads(flags.to_json(exported[0].config))
    local = {"data_dir", "labeled_list", "run_dir", "weights", "resume"}
    assert config == {key: value for key, value in trained.items() if key not in local}


def test_files_beside_the_graph_fit_it(exported, model):
    _, version = exported
    labels = (version / "assets" / "labels.txt").read_text("utf-8").splitlines()
    assert tuple(labels) == CLASSES.names
    colors = np.loadtxt(version / "assets" / "palette.txt", int)
    np.testing.assert_array_equal(colors, CLASSES.colors)
    with_input = {name for name in model.signatures if name != "metadata"}
    requests = dict(warmup.read(version))
    assert set(requests) == with_input
    for name, inputs in requests.items():
        outputs = model.signatures[name](**inputs)
        assert {len(value) for value in outputs.values()} == {1}
    crop = exported[0].config.crop_size
    assert requests["serving_default"]["image"].shape == (1, *crop, 3)


def test_warmup_that_gives_no_number_is_found(exported, model, monkeypatch):
    _, version = exported
    broken = {"outputs": tf.constant([np.nan])}
    signatures = {"serving_default": lambda **inputs: broken, "metadata": lambda: {}}
    monkeypatch.setattr(tf.saved_model, "load", lambda folder: mock.Mock(signatures=signatures))
    monkeypatch.setattr(warmup, "read", lambda folder: [("serving_default", {})])
    with pytest.raises(exporter.ExportError, match="outputs of serving_default is not finite"):
        exporter.verify(version, [], CLASSES.names)


def test_without_discriminator_and_with_input_scale(tmp_path):
    run = tiny_run(method="baseline", input_scale=0.5)
    version = exporter.export(run, tmp_path / "a" / "b", max_pixels=1000)
    warm = dict(warmup.read(version))["serving_default"]["image"]
    assert warm.shape == (1, 31, 31, 3)  # Crops are of 642x642, but above 1000 pixels is refused.
    signatures = tf.saved_model.load(str(version)).signatures
    assert signatures["metadata"]()["confidence_source"].numpy() == b"probability"
    image = picture(51, 70)
    served = arrays(signatures["serving_default"](image=image))
    np.testing.assert_array_equal(served["confidence"], served["probabilities"].max(-1))
    small = tf.image.resize(image, (26, 35), antialias=True)  # 25.5 rounds to even.
    expected = tf.nn.softmax(tf.image.resize(run.segmenter(small), (51, 70)))
    np.testing.assert_allclose(served["probabilities"], expected, atol=1e-5)


def test_discriminator_sees_the_scale_it_was_trained_with(exported):
    run, _ = exported
    module = ServingModule(run.segmenter, run.discriminator, CLASSES, 0.5, {})
    served = arrays(module.serving_default(tf.constant(picture(52, 70))))
    small = tf.image.resize(served["probabilities"], (26, 35), antialias=True)
    expected = tf.sigmoid(tf.image.resize(run.discriminator(small), (52, 70)))[..., 0]
    np.testing.assert_allclose(served["confidence"], expected, atol=1e-5)


@pytest.mark.slow
def test_run_trained_in_bfloat16_is_exported_in_float32(tmp_path):
    settings = configuration.resolve(
        {"precision": "mixed_bfloat16", "run_dir": str(tmp_path / "run")}
    )
    trainer = build_trainer(settings, 3)
    # The preset averages weights; each network has others, so that these are seen to be exported.
    networks = (trainer.segmenter, trainer.averaged, trainer.discriminator)
    for seed, network in enumerate(networks):
        randomize(network, seed)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / configuration.CONFIG_FILE).write_text(flags.to_json(settings), "utf-8")
    (folder / configuration.CLASSES_FILE).write_text(CLASSES.to_json(), "utf-8")
    Checkpoints(folder, trainer).save()

    version = exporter.export(load_run(folder, "last"), tmp_path / "exports")
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(n for function in graph.library.function for n in function.node_def)]
    types = {attr.type for node in nodes for attr in node.attr.values() if attr.type}
    assert tf.float32.as_datatype_enum in types
    assert not types & {tf.bfloat16.as_datatype_enum, tf.float16.as_datatype_enum}

    plain = build_segmenter("small", num_classes=3)
    plain.set_weights(trainer.averaged.get_weights())
    image = picture(40, 33)
    served = tf.saved_model.load(str(version)).signatures["serving_default"](image=image)
    expected = tf.nn.softmax(plain(image.astype(np.float32)))
    np.testing.assert_allclose(served["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "layer", "change", "message"),
    [
        ("segmenter", "head_dilation6", 0.01, "probabilities of serving_default differ"),
        ("segmenter", "head_dilation6", np.nan, "probabilities of serving_default differ by nan"),
        ("discriminator", "conv5", 0.1, "confidence of serving_default differ"),
    ],
)
def test_changed_weight_is_found(exported, model, monkeypatch, network, layer, change, message):
    run, version = exported
    monkeypatch.setattr(tf.saved_model, "load", lambda folder: model)  # It takes seconds.
    bias = getattr(run, network).get_layer(layer).bias
    original = bias.numpy()
    try:
        bias.assign(original + change * np.eye(len(original))[0])
        with pytest.raises(exporter.ExportError, match=message):
            exporter.verify(version, exporter.expected_of(run), CLASSES.names)
    finally:
        bias.assign(original)


@pytest.fixture
def quick_export(monkeypatch):
    """Exports a run in no time: the SavedModel is a stand-in, and is not verified."""

    def save(module, folder, signatures):
        (Path(folder) / "saved_model.pb").write_bytes(b"new")

    monkeypatch.setattr(exporter, "ServingModule", mock.MagicMock())
    monkeypatch.setattr(tf.saved_model, "save", save)
    monkeypatch.setattr(exporter, "expected_of", lambda run: [])
    monkeypatch.setattr(exporter, "verify", lambda *arguments: None)
    run = SavedRun(configuration.resolve({}), CLASSES, None, None, "none", 7)
    return lambda output: exporter.export(run, output)


def test_export_that_differs_is_not_handed_out(quick_export, tmp_path, monkeypatch):
    def differs(folder, *others):
        assert (folder / "saved_model.pb").is_file()
        assert folder.name.startswith(".")  # A server that watches would not load it.
        raise exporter.ExportError("differs")

    monkeypatch.setattr(exporter, "verify", differs)
    with pytest.raises(exporter.ExportError):
        quick_export(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written_is_told_first(quick_export, tmp_path, monkeypatch):
    def work(run):
        raise AssertionError("predicts")

    monkeypatch.setattr(exporter, "expected_of", work)
    output = tmp_path / "a file"
    output.write_text("mine", "utf-8")
    with pytest.raises(InputError, match=f"cannot write to --output {output}: "):
        quick_export(output)
    assert output.read_text("utf-8") == "mine"


def test_versions_are_numbered_after_the_highest(quick_export, tmp_path):
    assert quick_export(tmp_path / "new") == tmp_path / "new" / "1"
    assert quick_export(tmp_path / "new") == tmp_path / "new" / "2"
    for name in ("1", "2", "latest", "v7", "9"):
        (tmp_path / "old" / name).mkdir(parents=True)
    version = quick_export(tmp_path / "old")
    assert version == tmp_path / "old" / "10"
    assert (version / "saved_model.pb").read_bytes() == b"new"
    assert version.stat().st_mode & 0o055 == 0o055  # A server of another user reads it.
    assert list((tmp_path / "old" / "2").iterdir()) == []
