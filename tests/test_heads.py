"""The head deeplabv2. Every head is tested with every backbone in test_models."""

import keras
import numpy as np
from tiny_networks import randomize

from tf_advseg import registry
from tf_advseg.models.heads import HeadOptions


def test_deeplabv2_head_sums_four_dilated_convolutions():
    stage5 = keras.Input((None, None, 8))
    head = registry.load(registry.HEADS, "deeplabv2")
    network = keras.Model(stage5, head({"stage5": stage5}, 2, HeadOptions()))
    randomize(network)
    features = np.random.default_rng(0).normal(size=(1, 53, 60, 8)).astype(np.float32)
    expected = np.zeros((1, 53, 60, 2))
    for branch, dilation in zip(network.layers[1:5], (6, 12, 18, 24)):
        kernel, bias = (v.numpy() for v in branch.weights)
        padded = np.pad(features, ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0)))
        for row in range(3):
            for column in range(3):
                top, left = row * dilation, column * dilation
                expected += padded[:, top : top + 53, left : left + 60] @ kernel[row, column]
        expected += bias
    np.testing.assert_allclose(network(features), expected, atol=1e-4)


def test_head_takes_its_dilations_from_the_options():
    stage5 = keras.Input((None, None, 8))
    head = registry.load(registry.HEADS, "deeplabv2")
    one = keras.Model(stage5, head({"stage5": stage5}, 2, HeadOptions(dilations=(3,))))
    assert [layer.dilation_rate for layer in one.layers[1:]] == [(3, 3)]
    two = keras.Model(stage5, head({"stage5": stage5}, 2, HeadOptions(dilations=(6, 12))))
    assert [layer.dilation_rate[0] for layer in two.layers[1:3]] == [6, 12]
