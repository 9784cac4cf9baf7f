"""What the PyTorch oracle and the TensorFlow tests share: weights, batches, cases, sketches.

NumPy only. Everything is a function of seeds and names, so that both sides make the same arrays
without a file between them. Tensors have PyTorch's names and shapes (kernels are OIHW); images,
labels and logits are NHWC or NHW.
"""

import zlib
from pathlib import Path

import numpy as np

VOID = 255
STEPS = 3  # the golden numbers cover steps 0, 1 and 2


def generator(name, seed):
    """A random generator that depends on the name and the seed, not on the order of calls."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def values(name, shape, seed, std=0.01):
    """float32 array of the shape, drawn from N(0, std)."""
    return (std * generator(name, seed).standard_normal(shape)).astype(np.float32)


def fill(names_and_shapes, seed, std=0.01, norm_scale=1.0, norm_shift=0.0):
    """Weights for the tensors of a network: {name: float32 array}.

    names_and_shapes: {name: shape} of the whole network, so that a convolution's bias can be told
    from a batch norm's by the weight beside it. Kernels and biases of convolutions are N(0, std),
    std 0.01 being the authors' initial value (model/deeplab.py); batch norms are close to the
    identity, but not on it: weight 1 + N(0, .1), bias and running mean N(0, .1), running variance
    1 + |N(0, .1)|.

    norm_shift is added to every batch norm's bias, negated in a fourth of the channels between a
    block's convolutions; norm_scale then multiplies weight and bias. With batch statistics and a
    shift of 6 hardly any ReLU's input is near 0. Without, a rounding error turns some of them on or
    off: a share e of them moves a gradient by sqrt(e), 1e-3 for 1e-6.
    """
    shapes = dict(names_and_shapes)
    arrays = {}
    for name, shape in shapes.items():
        layer, _, kind = name.rpartition(".")
        if kind == "num_batches_tracked":
            continue
        if len(shapes[f"{layer}.weight"]) == 4:
            arrays[name] = values(name, shape, seed, std)
            continue
        noise = values(name, shape, seed, 0.1)
        if kind == "weight":
            noise = norm_scale * (1 + noise)
        elif kind == "bias":
            off = (np.arange(shape[0]) % 4 == 3) & layer.endswith((".bn1", ".bn2"))
            noise = norm_scale * (noise + np.where(off, -norm_shift, norm_shift))
        elif kind == "running_var":
            noise = 1 + np.abs(noise)
        arrays[name] = noise.astype(np.float32)
    return arrays


def fill_case(case, network, names_and_shapes):
    """Initial weights of a case's network, "segmenter" or "discriminator"."""
    # Two seeds, as both networks have a conv1.
    seed = case["seed"] + {"segmenter": 0, "discriminator": 1}[network]
    return fill(names_and_shapes, seed, case["std"][network], **case["norm"])


def blocks(random, shape, make, side=8):
    """[count, height, width, ...]: make(grid shape, generator) in blocks of side x side."""
    count, height, width = shape
    grid = make((count, -(-height // side), -(-width // side)), random)
    return np.repeat(np.repeat(grid, side, 1), side, 2)[:, :height, :width]


def make_labels(shape, num_classes, random):
    """int32 class ids of the shape, about 15% of them void."""
    labels = random.integers(0, num_classes, shape)
    order = random.permutation(labels.size).reshape(shape)
    return np.where(order < 0.15 * labels.size, VOID, labels).astype(np.int32)


def make_images(name, shape, seed):
    """float32 [count, height, width, 3], uniform in 0-255: blocks of one colour, some noisy.

    Pure noise would look the same everywhere to a network that pools; blocks make its predictions
    differ from place to place.
    """
    random = generator(name, seed)
    colors = blocks(random, shape, lambda grid, r: r.uniform(0, 255, (*grid, 3)))
    noisy = blocks(random, shape, lambda grid, r: r.random((*grid, 1)) < 0.3)
    return np.where(noisy, random.uniform(0, 255, (*shape, 3)), colors).astype(np.float32)


def batch(seed, step, size, num_classes, count=2):
    """One step's data, of `count` labeled and as many unlabeled images of size (H, W).

    labeled_images, unlabeled_images: float32 [count, H, W, 3], RGB in 0-255.
    labels: int32 [count, H, W], 0 to num_classes - 1, or 255 (void) in about 15% of the pixels.
    valid: bool [count, H, W], false in strips at the bottom and the right, as if padded there.
    """
    height, width = size
    shape = (count, height, width)
    valid = np.ones(shape, bool)
    for index in range(count):  # the strips differ between the images of a batch
        valid[index, height - height // (8 + 3 * index) :] = False
        valid[index, :, width - width // (11 + 3 * index) :] = False
    return {
        "labeled_images": make_images(f"labeled_images/{step}", shape, seed),
        "labels": blocks(
            generator(f"labels/{step}", seed),
            shape,
            lambda grid, random: make_labels(grid, num_classes, random),
        ),
        "unlabeled_images": make_images(f"unlabeled_images/{step}", shape, seed),
        "valid": valid,
    }


def sketch(array, count=8):
    """float64 [1 + count]: a tensor's L2 norm, and its projections on `count` random signs.

    The signs depend on the number of elements only: a tensor must be flattened in the same order on
    both sides (kernels OIHW, logits NHWC).
    """
    flat = np.asarray(array, np.float64).ravel()
    words = -(-flat.size // 64)
    random = np.random.PCG64([0x5EED, flat.size])
    result = [np.sqrt(flat @ flat)]
    for _ in range(count):
        bits = np.unpackbits(random.random_raw(words).view(np.uint8))[: flat.size]
        result.append(flat @ (2.0 * bits - 1.0))
    return np.array(result)


def sketch_distance(a, b):
    """Relative L2 error ||a - b|| / ||b|| of two tensors, estimated from their sketches.

    A projection on random signs s has E[(s.a - s.b)^2] = ||a - b||^2, so the mean of the squared
    differences is an unbiased estimate of the squared distance; with 8 projections the estimated
    distance is mostly within a third of the true one. Where ||b|| is 0: the distance itself.
    """
    distance = float(np.sqrt(np.mean((np.asarray(a)[1:] - np.asarray(b)[1:]) ** 2)))
    return distance / float(b[0]) if b[0] else distance


def relative_error(a, b):
    """||a - b|| / ||b|| of two whole tensors; where ||b|| is 0, ||a - b||."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    distance, norm = float(np.linalg.norm(a - b)), float(np.linalg.norm(b))
    return distance / norm if norm else distance


def entries(logits, gradients, losses, before, after, summarize=sketch):
    """The numbers of a run of a case: {"kind/...": summary of a tensor}.

    logits: {network: array} of the labeled images at step 0, NHWC, kept as logits/NETWORK.
    gradients: {network: {name: array}} at step 0, before weight decay: gradient/NETWORK/NAME.
    losses: a dict of numbers for each step: loss/NAME, float64 [steps], not summarized.
    before, after: {network: {name: array}} of all parameters and running statistics before the
    first and after the last step: weight/NETWORK/NAME after it, and, where anything changed,
    update/NETWORK/NAME, the difference, as small steps are lost beside the weights.
    """
    result = {f"logits/{network}": summarize(array) for network, array in logits.items()}
    for network, arrays in gradients.items():
        for name, array in arrays.items():
            result[f"gradient/{network}/{name}"] = summarize(array)
    for name in losses[0]:
        result[f"loss/{name}"] = np.array([step[name] for step in losses])
    for network, arrays in after.items():
        for name, array in arrays.items():
            result[f"weight/{network}/{name}"] = summarize(array)
            update = array.astype(np.float64) - before[network][name]
            if update.any():
                result[f"update/{network}/{name}"] = summarize(update)
    return result


def save(path, numbers):
    """Write {"kind/name": row}, one matrix for each kind: far smaller than an array for each name.

    Losses stay float64; float32 is ample for sketches that are compared at 1e-5 and above.
    """
    arrays = {}
    for kind in dict.fromkeys(key.partition("/")[0] for key in numbers):
        names = [key for key in numbers if key.startswith(f"{kind}/")]
        dtype = np.float64 if kind == "loss" else np.float32
        arrays[f"{kind}/names"] = np.frombuffer("\n".join(names).encode(), np.uint8)
        arrays[f"{kind}/rows"] = np.stack([numbers[name] for name in names]).astype(dtype)
    np.savez_compressed(path, **arrays)


def load(path):
    """Read what `save` wrote: {"kind/name": float64 row}."""
    numbers = {}
    with np.load(Path(path)) as file:
        for key in file.files:
            kind, _, part = key.partition("/")
            if part == "names":
                names = file[key].tobytes().decode().split("\n")
                numbers.update(zip(names, file[f"{kind}/rows"].astype(np.float64)))
    return numbers


def case_batch(case, step):
    """The data of a case's step."""
    return batch(case["seed"], step, case["size"], case["num_classes"])


def make_case(method, segmenter, discriminator, seed=0, std=None, norm=None, **options):
    """A case as plain data: the arguments of the oracle's networks and options."""
    return {
        "method": method,
        "num_classes": 5,
        "size": (65, 97),
        "seed": seed,
        "std": {"segmenter": 0.01, "discriminator": 0.01} | (std or {}),
        "norm": {"norm_scale": 1.0, "norm_shift": 0.0} | (norm or {}),
        "segmenter": {"blocks": (3, 4, 6, 3)} | segmenter,
        "discriminator": {"channels": 8} | discriminator,
        "options": options,
    }


ALIGNED = (
    {"style": "deeplab", "batch_norm": "frozen", "align_corners": True},
    {"padding": "one", "align_corners": True},
)
HALF_PIXEL = (
    {"style": "torchvision", "batch_norm": "frozen", "align_corners": False},
    {"padding": "same", "align_corners": False},
)
# With frozen norms, N(0, .01) kernels let the image fade from layer to layer: adding 1 to every
# pixel would move the logits by 5e-5 only. D's confidences would all lie within 5e-4. And the shift
# keeps ReLU's inputs off 0: without it, gradients of two libraries differ by up to 7e-4.
FROZEN = {
    "std": {"segmenter": 0.02, "discriminator": 0.1},
    "norm": {"norm_scale": 1.0, "norm_shift": 1.0},
}
# With batch statistics the numbers of fill's default are chaotic: float32 and float64 differ by
# 6e-5 in the logits, 3e-2 in the gradients and 10% in the losses of step 2.
BATCH_STATISTICS = {
    "std": {"segmenter": 0.05, "discriminator": 0.1},
    "norm": {"norm_scale": 0.02, "norm_shift": 2.0},
}

# The method is the same at any depth: ResNet-50 once for each convention, for the whole method.
SHALLOW = {"blocks": (2, 2, 2, 2)}

CASES = {}
# t_semi: D's confidences lie around .5; the nearest of any step is over 8e-5 away. In the deeper
# network, shift and seed are such that no unit is so close to 0 that rounding decides: with others,
# the reference's gradients on one thread and on two differ by 2e-4 and more.
for name, networks, shift, seed, t_semi in (
    ("aligned", ALIGNED, 3.5, 1, 0.620724),
    ("halfpixel", HALF_PIXEL, 2.5, 0, 0.61284),
):
    shallow = networks[0] | SHALLOW, networks[1]
    CASES[f"baseline-{name}"] = make_case("baseline", *shallow, **FROZEN)
    CASES[f"adv-{name}"] = make_case("adv", *shallow, **FROZEN)
    deep = FROZEN | {"norm": {"norm_scale": 1.0, "norm_shift": shift}, "seed": seed}
    CASES[f"semi-{name}"] = make_case("semi", *networks, **deep, t_semi=t_semi)
CASES["semi-authors"] = make_case(
    "semi",
    ALIGNED[0]
    | SHALLOW
    | {
        "batch_norm": "frozen_affine",
        "dilations": (6, 12),
        "normalization": "authors",
    },
    ALIGNED[1],
    **BATCH_STATISTICS,
    t_semi=0.498434,
    nesterov=False,
    mixing="separate",
    unlabeled_fakes=True,
    discriminator_loss_scale=0.5,
)
CASES["semi-challenge"] = make_case(
    "semi",
    ALIGNED[0] | SHALLOW | {"batch_norm": "train", "normalization": "imagenet"},
    ALIGNED[1] | {"outputs": 2, "padding": "two"},
    **BATCH_STATISTICS,
    t_semi=0.412256,
    label_smoothing=0.1,
    discriminator_optimizer="sgd",
    head_learning_rate_scale=1.0,
    weight_decay=1e-4,
)
# At even sizes the authors' pool has one more row and column than an ordinary one.
CASES["baseline-even"] = CASES["baseline-aligned"] | {"size": (64, 96)}
