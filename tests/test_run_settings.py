"""What a configuration says must reach the networks, the optimizers and the step."""

import re
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

from tests.tiny_networks import values
from tf_advseg.config import train_config
from tf_advseg.data.classes import VOC2012
from tf_advseg.models.normalization import FrozenAffineBatchNormalization
from tf_advseg.training import run
from tf_advseg.training.run import build_trainer

ROOT = Path(__file__).resolve().parents[1]


def trainer_of(*argv):
    return build_trainer(train_config(["--precision", "float32", *argv]), 4)


def resize_of(network, name):
    return network.get_layer(name).align_corners


@pytest.fixture(scope="module")
def unusual():
    """A trainer with nothing at its default."""
    return trainer_of(
        *("--backbone", "resnet50", "--backbone_style", "torchvision", "--output_stride", "32"),
        *("--normalization", "authors", "--head_dilations", "2,5", "--align_corners", "true"),
        *(
            "--spectral_norm",
            "false",
            "--discriminator_channels",
            "3",
            "--discriminator_outputs",
            "2",
        ),
        *("--discriminator_padding", "two", "--discriminator_init", "torch"),
        *("--learning_rate", "0.5", "--momentum", "0.25", "--nesterov", "false"),
        *("--discriminator_optimizer", "sgd", "--discriminator_learning_rate", "0.125"),
        *("--discriminator_momentum", "0.75", "--discriminator_weight_decay", "0.0625"),
        *("--steps", "8", "--poly_power", "2", "--semi_start", "0", "--seed", "9"),
        *("--method", "semi", "--mixing", "coin_flip", "--label_smoothing", "0.2"),
        *("--weight_decay", "0.3", "--lambda_confidence", "0"),
    )


def test_settings_reach_the_segmenter(unusual):
    segmenter = unusual.segmenter
    names = [layer.name for layer in segmenter.layers if layer.name.startswith("head_dil")]
    assert names == ["head_dilation2", "head_dilation5"]
    assert segmenter.get_layer("normalize").convention == "authors"
    assert resize_of(segmenter, "logits")
    backbone = segmenter.get_layer("resnet50")
    assert backbone.get_layer("conv3_block1_2_conv").strides == (2, 2)
    assert backbone.get_layer("conv5_block1_2_conv").strides == (2, 2)


def test_settings_reach_the_discriminator(unusual):
    discriminator = unusual.discriminator
    first, last = (discriminator.get_layer(name) for name in ("conv1", "conv5"))
    assert (first.filters, last.filters, first.pad) == (3, 2, 2)
    assert resize_of(discriminator, "resize")
    # PyTorch's initial biases are not zero.
    assert all(value.any() for value in values(discriminator))


def test_settings_reach_the_optimizers(unusual):
    sgd, discriminator = unusual.optimizer, unusual.discriminator_optimizer
    assert isinstance(sgd, keras.optimizers.SGD) and isinstance(discriminator, keras.optimizers.SGD)
    assert (sgd.momentum, sgd.nesterov) == (0.25, False)
    assert (discriminator.momentum, discriminator.nesterov) == (0.75, True)
    # Half way, the rate is (1/2) ** 2 of the first one. The discriminator's goes by the run's step.
    assert float(sgd._learning_rate(4)) == pytest.approx(0.5 / 4)
    unusual.step.assign(4)
    assert float(discriminator._learning_rate(0)) == pytest.approx(0.125 / 4)
    unusual.step.assign(0)


def test_settings_reach_the_step(unusual):
    recipe = unusual.recipe
    assert (recipe.mixing, recipe.label_smoothing, recipe.weight_decay) == ("coin_flip", 0.2, 0.3)
    assert recipe.discriminator_weight_decay == 0.0625
    assert unusual._seed == 9


@pytest.mark.parametrize(
    "mode", [pytest.param("train", marks=pytest.mark.slow), "frozen", "frozen_affine"]
)
def test_batch_norm_mode_reaches_the_backbone(mode):
    trainer = trainer_of(
        *("--backbone", "resnet50", "--weights", "imagenet", "--batch_norm", mode),
        *("--method", "adv", "--discriminator_betas", "0.3,0.6"),
    )
    norm = trainer.segmenter.get_layer("resnet50").get_layer("conv1_bn")
    assert norm.trainable == (mode != "frozen")
    assert bool(norm.trainable_variables) == (mode == "train")
    assert isinstance(norm, FrozenAffineBatchNormalization) == (mode == "frozen_affine")
    adam = trainer.discriminator_optimizer
    assert (adam.beta_1, adam.beta_2) == (0.3, 0.6)


def test_only_a_network_with_batch_norm_is_rebuilt_for_several_replicas(monkeypatch):
    class Two:
        num_replicas_in_sync = 2

    rebuilt = []
    monkeypatch.setattr(run, "synchronized", lambda network: rebuilt.append(network) or network)
    monkeypatch.setattr(run.tf.distribute, "get_strategy", lambda: Two)
    trainer = trainer_of("--spectral_norm", "true")
    assert rebuilt == [trainer.segmenter]
    parts = trainer.discriminator.submodules
    assert not any(isinstance(part, keras.layers.BatchNormalization) for part in parts)


@pytest.mark.parametrize("deterministic", [False, True])
def test_operations_are_made_deterministic_where_it_is_asked_for(
    monkeypatch, tmp_path, deterministic
):
    class BeginsToTrain(Exception):
        pass

    def begin(*_):
        raise BeginsToTrain

    called = []
    experimental = run.tf.config.experimental
    monkeypatch.setattr(experimental, "enable_op_determinism", lambda: called.append(True))
    monkeypatch.setattr(run, "_begin", begin)
    argv = ["--deterministic", str(deterministic).lower(), "--run_dir"]
    files = SimpleNamespace(classes=VOC2012)
    with pytest.raises(BeginsToTrain):
        run.train(train_config([*argv, str(tmp_path / "run")]), files)
    assert called == [True] * deterministic


def test_unknown_choices_of_the_library_are_refused():
    from tf_advseg.models.discriminator import build_discriminator
    from tf_advseg.models.segmenter import build_segmenter
    from tf_advseg.training.optimizers import discriminator_optimizer

    with pytest.raises(ValueError, match="batch_norm is 'trian'; allowed: train, frozen"):
        build_segmenter("small", num_classes=2, batch_norm="trian")
    for wrong in ({"init": "pytorch"}, {"padding": "three"}):
        with pytest.raises(KeyError):
            build_discriminator(2, **wrong)
    with pytest.raises(KeyError):
        discriminator_optimizer(0.1, 9, name="adamw")


def test_every_test_that_the_fidelity_table_names_exists():
    document = (ROOT / "docs" / "fidelity.md").read_text("utf-8")
    named = re.findall(r"`(test_\w+)(?:::(test_\w+|test_[\w.]+))?`", document)
    assert len(named) > 20
    for module, function in named:
        path = ROOT / "tests" / f"{module}.py"
        # A function named alone is of the module in the prose around it.
        if not path.exists():
            sources = "".join(p.read_text("utf-8") for p in (ROOT / "tests").glob("test_*.py"))
            assert f"def {module}(" in sources, module
            continue
        if function:
            pattern = function.replace("...", r"\w*")
            assert re.search(rf"def {pattern}\(", path.read_text("utf-8")), function
