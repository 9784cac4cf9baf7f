"""Conventions of published weights. No TensorFlow here: `config` names them.

Weights are worth something only in the network, and on the colours, that they were trained with.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Normalization:
    """A colour scale: (image - mean) / std, with the channels reversed afterwards or not.

    Attributes:
      mean: RGB in 0-255.
      std: RGB in 0-255.
      bgr: whether the network takes blue first.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False


#: name -> the colours that weights expect
NORMALIZATIONS = {
    # Keras' ResNet weights (keras.applications.imagenet_utils, mode "caffe").
    "caffe": Normalization((123.68, 116.779, 103.939), bgr=True),
    # DeepLab's weights, which Caffe trained.
    "deeplab": Normalization((122.67891434, 116.66876762, 104.00698793), bgr=True),
    # The authors' code (dataset/voc_dataset.py): the same, but OpenCV reads BGR, and the line that
    # is to change it to BGR makes it RGB. Their trained weights want that.
    "authors": Normalization((122.67891434, 116.66876762, 104.00698793)),
    # torchvision's ImageNet statistics; the challenge entry and Keras' DenseNet weights too.
    "imagenet": Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}


@dataclasses.dataclass(frozen=True)
class ResNetStyle:
    """Where the ResNets of different sources differ. The layers and their order are the same.

    Attributes:
      normalization: the colours that this source's weights expect.
      strides_in_3x3: whether a stage strides in the 3x3 of its first block, or in the 1x1 before.
      ceil_pool: whether the pool after the stem rounds sizes up, as Caffe does.
      bias: whether convolutions have one.
      epsilon: of batch norm.
    """

    normalization: str
    strides_in_3x3: bool = False
    ceil_pool: bool = False
    bias: bool = False
    epsilon: float = 1e-5


#: name -> the ResNet that weights of this source belong to
RESNET_STYLES = {
    "keras": ResNetStyle("caffe", bias=True, epsilon=1.001e-5),
    # model/deeplab.py of the authors' code, and the COCO weights that it starts from.
    "deeplab": ResNetStyle("deeplab", ceil_pool=True),
    "torchvision": ResNetStyle("imagenet", strides_in_3x3=True),
}

#: What a backbone's batch norm does in training:
#: "train": batch statistics; scale and shift learn.
#: "frozen": stored statistics; nothing learns (DeepLab in Caffe).
#: "frozen_affine": batch statistics, which the stored ones follow; scale and shift are frozen (the
#: authors' code, where only those two have requires_grad off).
BATCH_NORM_MODES = ("train", "frozen", "frozen_affine")
