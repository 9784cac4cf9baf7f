"""What a training step costs, by calculation: nothing here is run or timed.

With F for the operations of a forward pass of one image, or one map (`network_cost`), and F1 for
those of its first convolution, a step computes:

    segmenter, an image            3 F - F1   the gradient of the image is not needed
    with --recompute               + F        of the backbone, once more
    D, a predicted map             4 F - F1   L_D's gradients, and L_adv's down to the map
    D, a true map                  3 F - F1   L_D's gradients
    D, an unlabeled image's map    2 F        L_adv's gradients down to the map

Time is that by the assumed rate of convolutions, and the bytes that other layers move by the
assumed bandwidth; a step moves three times as many as a forward pass.

Memory is what gradients need: with --recompute, the output of every sixth residual block or so, and
the inside of six. Then come three full-size float32 maps of the classes, three of the largest maps,
which the backward pass works on, and weights, momenta and gradients. What libraries take is left
out.
"""

import dataclasses

from benchmarks.network_cost import NetworkCost, discriminator_cost, segmenter_cost

CONVOLUTION_RATE = 0.40  # Assumed share of a GPU's peak that convolutions reach.
BANDWIDTH_RATE = 0.75  # Assumed share of its memory's peak.
_FULL_SIZE_MAPS = 3  # Logits, probabilities, and the gradient of the cross-entropy.
_WORKING_MAPS = 3  # Of the gradient: what comes in, what goes out, and the shortcut's.


@dataclasses.dataclass(frozen=True)
class Gpu:
    """Peaks of a GPU, in units of 10^12 operations and bytes a second, and 10^9 bytes.

    `float32` is TF32's where there is one, which TensorFlow takes for float32 convolutions.
    """

    name: str
    mixed: float
    float32: float
    bandwidth: float
    memory: float
    source: str


GPUS = (
    Gpu("T4 16 GB", 65, 8.1, 0.320, 16, "NVIDIA T4 datasheet"),
    Gpu("V100 32 GB", 125, 15.7, 0.900, 32, "NVIDIA V100 datasheet, SXM2"),
    Gpu("RTX 4090 24 GB", 165.2, 82.6, 1.008, 24, "NVIDIA Ada architecture whitepaper"),
    Gpu("A100 80 GB", 312, 156, 2.039, 80, "NVIDIA A100 80GB datasheet, SXM"),
)


@dataclasses.dataclass(frozen=True)
class Step:
    """A training step whose cost is asked for. `batch_size` is of each kind of images."""

    method: str = "semi"
    size: tuple[int, int] = (321, 321)
    num_classes: int = 21
    batch_size: int = 10
    backbone: str = "resnet101"
    output_stride: int = 8
    mixed: bool = True
    recompute: bool = False

    @property
    def images(self) -> int:
        """Images that the segmenter sees."""
        return self.batch_size * (2 if self.method == "semi" else 1)

    @property
    def segmenter(self) -> NetworkCost:
        return segmenter_cost(self.backbone, self.size, self.num_classes, self.output_stride)

    @property
    def discriminator(self) -> NetworkCost:
        return discriminator_cost(self.size, self.num_classes)

    @property
    def bytes_per_value(self) -> int:
        return 2 if self.mixed else 4


def operations(step: Step) -> int:
    """Returns the operations of a step's convolutions, by the table above."""
    segmenter, judge = step.segmenter, step.discriminator
    image = 3 * segmenter.operations - segmenter.first
    if step.recompute:
        image += segmenter.recomputed
    return (
        step.images * image
        + step.batch_size
        * {
            "baseline": 0,
            "adv": 7 * judge.operations - 2 * judge.first,
            "semi": 9 * judge.operations - 2 * judge.first,
        }[step.method]
    )


def bytes_moved(step: Step) -> int:
    """Returns the bytes that a step's other layers read and write; D's and losses are left out."""
    return (4 if step.recompute else 3) * step.images * step.segmenter.moved * step.bytes_per_value


def seconds(step: Step, gpu: Gpu) -> float:
    """Returns the assumed time of a step on one GPU."""
    peak = gpu.mixed if step.mixed else gpu.float32
    computing = operations(step) / (CONVOLUTION_RATE * peak * 1e12)
    return computing + bytes_moved(step) / (BANDWIDTH_RATE * gpu.bandwidth * 1e12)


def prediction_seconds(step: Step, gpu: Gpu) -> float:
    """Returns the assumed time to predict one image of `step.size` with S and D."""
    peak = gpu.mixed if step.mixed else gpu.float32
    computing = step.segmenter.operations + step.discriminator.operations
    moving = step.segmenter.moved * step.bytes_per_value
    return computing / (CONVOLUTION_RATE * peak * 1e12) + moving / (
        BANDWIDTH_RATE * gpu.bandwidth * 1e12
    )


def gradient_bytes(step: Step) -> int:
    """Returns the bytes of both networks' gradients, which replicas exchange in each step."""
    judged = step.method != "baseline"
    return 4 * (step.segmenter.weights + judged * step.discriminator.weights)


def memory(step: Step) -> int:
    """Returns the bytes of weights and of what a step keeps."""
    segmenter, judge = step.segmenter, step.discriminator
    kept = segmenter.kept
    if step.recompute:
        kept = segmenter.kept_outputs + segmenter.largest_segment
    kept += _WORKING_MAPS * segmenter.largest_map
    maps = {"baseline": 0, "adv": 2, "semi": 3}[step.method]
    activations = (step.images * kept + step.batch_size * maps * judge.kept) * step.bytes_per_value
    height, width = step.size
    full_size = 4 * _FULL_SIZE_MAPS * step.images * height * width * step.num_classes
    # SGD: weights, velocity and gradients, in float32; Adam has two moments.
    weights = 4 * (3 * segmenter.weights + (4 * judge.weights if maps else 0))
    return activations + full_size + weights
