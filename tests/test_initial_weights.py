"""What a run starts from: PyTorch's files in three namings, runs of ours, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from reference_networks import backbone_of, case_state, named, random_segmenter
from torch_files import write_legacy, write_zip

from benchmarks import reference_case
from benchmarks.reference_case import CASES, sketch, sketch_distance
from tests.folders import make_voc_folder
from tests.runs import TINY, call, copy_of, shared_run
from tests.tiny_networks import values
from tf_advseg import registry
from tf_advseg.errors import InputError
from tf_advseg.models.segmenter import build_segmenter, head_variables
from tf_advseg.train_options import TrainConfig
from tf_advseg.training import initial_weights

GOLDEN = Path(__file__).parent / "golden"
#: The even size tells the authors' pool from torchvision's.
DEEPLAB, TORCHVISION = CASES["baseline-even"], CASES["baseline-halfpixel"]
NAMES = tuple("abcde")


@pytest.fixture(autouse=True)
def _register(monkeypatch):
    path = "reference_networks:shallow_resnet"
    monkeypatch.setitem(registry.BACKBONES, "shallow_resnet", path)
    monkeypatch.setattr(registry, "STYLED", (*registry.STYLED, "shallow_resnet"))


@pytest.fixture(scope="module")
def networks():
    """A segmenter for each case, with random weights: tests put theirs in."""
    with pytest.MonkeyPatch.context() as patch:
        path = "reference_networks:shallow_resnet"
        patch.setitem(registry.BACKBONES, "shallow_resnet", path)
        return {"deeplab": random_segmenter(DEEPLAB), "torchvision": random_segmenter(TORCHVISION)}


def config_of(weights, **changes):
    return TrainConfig(backbone="shallow_resnet", weights=str(weights), **changes)


def golden_logits(case, name):
    return reference_case.load(GOLDEN / f"{name}.npz")["logits/segmenter"]


def logits_of(segmenter, case):
    return segmenter(reference_case.case_batch(case, 0)["labeled_images"]).numpy()


def load(segmenter, config, names=NAMES):
    return initial_weights.load(segmenter, config, initial_weights.look(config), names)


def scramble(segmenter):
    segmenter.set_weights([np.full_like(value, 0.5) for value in segmenter.get_weights()])


@pytest.mark.parametrize(
    ("prefix", "write"),
    [
        pytest.param("", write_zip, id="authors-zip"),
        pytest.param("Scale.", write_legacy, id="coco-legacy"),
        pytest.param("", write_legacy, id="authors-legacy", marks=pytest.mark.slow),
        pytest.param("Scale.", write_zip, id="coco-zip", marks=pytest.mark.slow),
    ],
)
def test_deeplab_file_gives_pytorchs_logits(write, prefix, networks, tmp_path):
    segmenter = networks["deeplab"]
    write(tmp_path / "deeplab.pth", case_state(DEEPLAB, segmenter), prefix=prefix)
    scramble(segmenter)
    config = config_of(tmp_path / "deeplab.pth")
    found = initial_weights.look(config)
    # The authors feed RGB to weights in their naming.
    colours = "deeplab" if prefix else "authors"
    assert (found.kind, found.style, found.normalization) == ("torch", "deeplab", colours)
    told = load(segmenter, config)
    assert told == [f"weights of shallow_resnet from {tmp_path}/deeplab.pth"]
    own = sketch(logits_of(segmenter, DEEPLAB))
    assert sketch_distance(own, golden_logits(DEEPLAB, "baseline-even")) < 1e-5


def torchvision_state(segmenter):
    """A ResNet as torchvision has it: a classifier in the place of the head, and counters."""
    state = {n: v for n, v in case_state(TORCHVISION, segmenter).items() if "layer5" not in n}
    state["bn1.num_batches_tracked"] = np.array(7)
    state["layer1.0.bn1.num_batches_tracked"] = np.array(7)
    return {**state, "fc.weight": np.ones((1000, 8), "f4"), "fc.bias": np.ones(1000, "f4")}


@pytest.mark.parametrize("write", [write_zip, write_legacy], ids=["zip", "legacy"])
def test_torchvision_file_gives_pytorchs_logits(write, networks, tmp_path):
    segmenter = networks["torchvision"]
    write(tmp_path / "resnet.pth", torchvision_state(segmenter))
    scramble(segmenter)
    config = config_of(tmp_path / "resnet.pth")
    found = initial_weights.look(config)
    assert (found.style, found.normalization) == ("torchvision", "imagenet")
    told = load(segmenter, config)
    assert told[1] == "left out: fc.weight, fc.bias, 2 num_batches_tracked"
    assert all((v.numpy() == 0.5).all() for v in head_variables(segmenter))
    whole = case_state(TORCHVISION, segmenter)
    for name, variable in named(segmenter, TORCHVISION).items():
        if name.startswith("layer5"):
            variable.assign(
                whole[name].transpose(2, 3, 1, 0) if whole[name].ndim == 4 else whole[name]
            )
    own = sketch(logits_of(segmenter, TORCHVISION))
    assert sketch_distance(own, golden_logits(TORCHVISION, "baseline-halfpixel")) < 1e-5


@pytest.mark.parametrize(
    "blocks",
    [
        (2, 2, 2, 2),
        pytest.param((3, 4, 6, 3), marks=pytest.mark.slow),
        pytest.param((3, 4, 23, 3), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    ("style", "prefix"), [("deeplab", ""), ("deeplab", "Scale."), ("torchvision", "")]
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_file_that_pytorch_saved_gives_its_logits(style, prefix, zipped, blocks, tmp_path):
    torch = pytest.importorskip("torch")
    from benchmarks import torch_reference

    case = {"deeplab": DEEPLAB, "torchvision": TORCHVISION}[style]
    case = case | {"segmenter": case["segmenter"] | {"blocks": blocks}}
    reference = torch_reference.build(case).segmenter
    state = {f"{prefix}{name}": tensor for name, tensor in reference.state_dict().items()}
    if style == "torchvision":
        state = {name: tensor for name, tensor in state.items() if "layer5" not in name}
        state["fc.weight"] = torch.zeros(1000, 2048)
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    segmenter = random_segmenter(case)
    told = load(segmenter, dataclasses.replace(config_of(path), backbone=backbone_of(case)))
    assert "num_batches_tracked" in told[1]
    for name, variable in named(segmenter, case).items():
        if name.startswith("layer5") and style == "torchvision":
            value = reference.state_dict()[name].numpy()
            variable.assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)
    images = reference_case.case_batch(case, 0)["labeled_images"]
    with torch.no_grad():
        expected = reference(torch.as_tensor(images)).permute(0, 2, 3, 1).numpy()
    assert reference_case.relative_error(logits_of(segmenter, case), expected) < 1e-5


def without(name):
    return lambda state: state.pop(name)


def with_(name, shape):
    return lambda state: state.update({name: np.zeros(shape, "f4")})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("layer3.1.conv2.weight"), "it has no layer3.1.conv2.weight"),
        (without("layer1.0.downsample.1.running_var"), "it has no layer1.0.downsample.1.running_"),
        (with_("conv1.weight", (64, 3, 3, 3)), r"its conv1.weight has the shape \(3, 3, 3, 64\)"),
        (with_("layer3.2.conv1.weight", (2, 2, 1, 1)), "it has layer3.2.conv1.weight, for which"),
        (with_("conv1.bias", (64,)), "it has conv1.bias, for which"),
    ],
)
def test_file_of_another_network_is_refused_and_changes_nothing(change, words, networks, tmp_path):
    segmenter = networks["deeplab"]
    state = case_state(DEEPLAB, segmenter)
    change(state)
    write_zip(tmp_path / "other.pth", state)
    before = values(segmenter)
    with pytest.raises(InputError, match=f"cannot load --weights .*other.pth: {words}"):
        load(segmenter, config_of(tmp_path / "other.pth"))
    for own, old in zip(values(segmenter), before, strict=True):
        np.testing.assert_array_equal(own, old)


def test_head_of_other_classes_is_left_out_by_name(networks, tmp_path):
    segmenter = networks["deeplab"]
    state = case_state(DEEPLAB, segmenter)
    for index in range(4):
        state[f"layer5.conv2d_list.{index}.weight"] = np.zeros((21, 2048, 3, 3), "f4")
        state[f"layer5.conv2d_list.{index}.bias"] = np.zeros(21, "f4")
    write_zip(tmp_path / "voc.pth", state)
    scramble(segmenter)
    told = load(segmenter, config_of(tmp_path / "voc.pth"))
    for index in range(4):
        assert f"layer5.conv2d_list.{index}.weight" in told[1]
    assert all((v.numpy() == 0.5).all() for v in head_variables(segmenter))
    assert not any((v.numpy() == 0.5).any() for v in segmenter.get_layer("shallow_resnet").weights)


def test_branches_that_a_recipe_does_not_have_are_left_out(networks, tmp_path):
    segmenter = networks["deeplab"]
    write_zip(tmp_path / "four.pth", case_state(DEEPLAB, segmenter))
    scramble(segmenter)
    # As preset authors: its two branches are the file's first two.
    told = load(segmenter, config_of(tmp_path / "four.pth", head_dilations=(6, 12)))
    assert "layer5.conv2d_list.2.weight" in told[1] and "conv2d_list.1" not in told[1]
    for dilation, loaded in ((6, True), (12, True), (18, False), (24, False)):
        kernel = segmenter.get_layer(f"head_dilation{dilation}").kernel.numpy()
        assert (kernel != 0.5).all() == loaded


def test_branches_of_other_dilations_than_the_files_are_left_out(networks, tmp_path):
    write_zip(tmp_path / "four.pth", case_state(DEEPLAB, networks["deeplab"]))
    segmenter = build_segmenter(
        "shallow_resnet", num_classes=5, backbone_style="deeplab", head_dilations=(12, 36)
    )
    told = load(segmenter, config_of(tmp_path / "four.pth", head_dilations=(12, 36)))
    assert "layer5.conv2d_list.0.weight" in told[1]
    segmenter = build_segmenter(
        "shallow_resnet", num_classes=5, backbone_style="deeplab", head_dilations=(12,)
    )
    load(segmenter, config_of(tmp_path / "four.pth", head_dilations=(12,)))
    kernel = case_state(DEEPLAB, networks["deeplab"])["layer5.conv2d_list.1.weight"]
    own = segmenter.get_layer("head_dilation12").kernel
    np.testing.assert_array_equal(own, kernel.transpose(2, 3, 1, 0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "small"}, "there is no reading into small; allowed: --backbone resnet50"),
        ({"backbone_style": "keras"}, "--backbone_style is keras, but"),
        ({"backbone_style": "torchvision"}, "is of deeplab; allowed: leave it out"),
    ],
)
def test_settings_that_do_not_fit_a_file_are_refused(changes, words, networks, tmp_path):
    write_zip(tmp_path / "a.pth", case_state(DEEPLAB, networks["deeplab"]))
    with pytest.raises(InputError, match=words):
        initial_weights.look(dataclasses.replace(config_of(tmp_path / "a.pth"), **changes))


def test_bare_resnet_needs_to_be_told_whose_it_is(networks, tmp_path):
    state = torchvision_state(networks["torchvision"])
    write_zip(tmp_path / "bare.pth", {n: v for n, v in state.items() if not n.startswith("fc.")})
    config = config_of(tmp_path / "bare.pth")
    with pytest.raises(InputError, match="say by --backbone_style which ResNet it is"):
        initial_weights.look(config)
    told = dataclasses.replace(config, backbone_style="torchvision")
    assert initial_weights.look(told).normalization == "imagenet"


def test_random_weights_take_the_style_that_is_asked_for():
    found = initial_weights.look(TrainConfig(backbone="resnet50", backbone_style="deeplab"))
    assert (found.kind, found.style, found.normalization) == ("none", "deeplab", None)


def test_kerass_own_weights_have_kerass_style_and_colours():
    for backbone, colours in (("resnet50", "caffe"), ("densenet121", "imagenet")):
        found = initial_weights.look(TrainConfig(backbone=backbone, weights="imagenet"))
        assert (found.style, found.normalization) == ("keras", colours)


# Runs of ours


@pytest.fixture(scope="module")
def run():
    return shared_run()


def small_config(weights):
    return TrainConfig(backbone="small", weights=str(weights))


@pytest.mark.parametrize(
    "place",
    [
        "checkpoints",
        *(pytest.param(place, marks=pytest.mark.slow) for place in ("", "checkpoints/step-40")),
    ],
)
def test_run_gives_backbone_and_head_for_the_same_classes(place, run):
    path = run.folder / place
    segmenter = build_segmenter("small", num_classes=3)
    told = load(segmenter, small_config(path), ("class0", "class1", "class2"))
    assert told == [f"weights of small from {path}", "left out: discriminator"]
    from tf_advseg.saved_run import load_run

    expected = load_run(run.folder, "last").segmenter
    for own, other in zip(values(segmenter), values(expected), strict=True):
        np.testing.assert_array_equal(own, other)


def test_run_of_other_classes_gives_its_backbone_and_names_the_head(run):
    segmenter = build_segmenter("small", num_classes=5)
    head = [v.numpy() for v in head_variables(segmenter)]
    told = load(segmenter, small_config(run.folder), NAMES)
    assert told[1] == (
        "left out: head_dilation6, head_dilation12, head_dilation18, head_dilation24, discriminator"
    )
    for own, before in zip(head_variables(segmenter), head, strict=True):
        np.testing.assert_array_equal(own, before)


def test_run_of_renamed_classes_gives_no_head(run):
    segmenter = build_segmenter("small", num_classes=3)
    told = load(segmenter, small_config(run.folder), ("class0", "class2", "class1"))
    assert "left out: head_dilation6" in told[1]


def test_run_of_another_backbone_is_refused(run):
    with pytest.raises(InputError, match="has the backbone small; allowed: --backbone small"):
        initial_weights.look(config_of(run.folder))


def test_best_checkpoint_can_be_named(run):
    found = initial_weights.look(small_config(run.folder / "checkpoints" / "best"))
    assert found.run == (run.folder, "best")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 cut off", "is damaged or incomplete"),
        (b"no weights at all", "is no PyTorch file but starts with"),
        (b"\x08\0\0\0\0\0\0\0{}", "is no PyTorch file but a safetensors file"),
        (b"", "is no PyTorch file but empty"),
    ],
)
def test_file_of_no_kind_is_told_what_it_is(content, words, tmp_path):
    (tmp_path / "weights.pth").write_bytes(content)
    for changes in ({}, {"backbone_style": "torchvision"}, {"backbone": "small"}):
        config = dataclasses.replace(config_of(tmp_path / "weights.pth"), **changes)
        with pytest.raises(InputError, match=f"--weights: .*weights.pth {words}"):
            initial_weights.look(config)


def test_file_that_is_gone_is_told(tmp_path):
    config = config_of(tmp_path / "gone.pth", backbone_style="deeplab")
    with pytest.raises(InputError, match=r"gone\.pth is gone"):
        initial_weights.look(config)


def test_run_with_an_undecodable_index_is_refused(run, tmp_path):
    copied = copy_of(run, tmp_path / "run")
    for index in (copied / "checkpoints").glob("*.index"):
        index.write_bytes(b"\xff\xfe\xff")
    segmenter = build_segmenter("small", num_classes=3)
    with pytest.raises(InputError, match="checkpoint"):
        load(segmenter, small_config(copied))


def test_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is a folder without config.json"):
        initial_weights.look(config_of(tmp_path))


@pytest.mark.slow
def test_training_goes_on_from_a_run_on_other_classes(run, tmp_path, capsys):
    data_dir = make_voc_folder(tmp_path / "data", train=4, val=1, num_classes=4)
    flags = ("--dataset", "folder", "--data_dir", data_dir, "--run_dir", tmp_path / "run", *TINY)
    weights = ("--weights", run.folder, "--method", "baseline", "--steps", "1")
    assert call("train", *flags, *weights) == 0
    told = capsys.readouterr()
    assert f"weights of small from {run.folder}" in told.out
    assert "left out: head_dilation6" in told.out
    assert "warning" not in told.err.replace("no labeled image shows", "")
