"""Every flag of train.py, once: its name, its check, its default, its help.

No TensorFlow here. What a value is when it is not given, `config` says.
"""

import dataclasses

from tf_advseg import registry
from tf_advseg.flags import (
    boolean,
    choice,
    flag,
    integer,
    integers,
    location,
    name,
    number,
    numbers,
    one_of,
    share,
    size,
    span,
    switch,
    text,
)
from tf_advseg.models.conventions import BATCH_NORM_MODES, NORMALIZATIONS, RESNET_STYLES
from tf_advseg.options import (
    AUTO,
    CROP_RULES,
    DISCRIMINATOR_OPTIMIZERS,
    EVAL_PROTOCOLS,
    FULL,
    MIN_CROP_SIZE,
    PRECISIONS,
    STRATEGIES,
)
from tf_advseg.presets import PRESETS
from tf_advseg.recipe import ADVERSARIAL_LOSSES, MIXINGS, SELECTIONS, Recipe


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The flags of train.py. None means: derived from other values by `resolve`, or not set."""

    preset: str | None = flag(
        None,
        choice(PRESETS),
        "named set of values, which any other flag overrides [demo for shapes, else default]",
    )
    dataset: str = flag("shapes", choice(registry.DATASETS), "data set", group="data")
    data_dir: str | None = flag(
        None, text(), "the data set's folder [shapes: data/shapes, made if missing]", group="data"
    )
    labeled_fraction: float = flag(
        1.0, share(), "share of the training images used as labeled", group="data"
    )
    labeled_list: str | None = flag(
        None, text(), "file of labeled ids, one a line, instead of a fraction", group="data"
    )
    train_split: str = flag("train", name(), "list of training images", group="data")
    val_split: str = flag("val", name(), "list of validation images", group="data")
    batch_size: int = flag(
        8,
        integer(1),
        "labeled images in a step, and again as many unlabeled ones, of all devices together",
        group="data",
    )
    crop_size: tuple[int, int] = flag(
        (321, 321), size(MIN_CROP_SIZE), "training crop", group="data"
    )
    input_scale: float = flag(
        1.0, number(0, 4, above=True), "resize every image by this first", group="data"
    )
    crop_rule: str = flag(
        "scale",
        choice(CROP_RULES),
        "crop from a random scale, or of 8 to 100 % of the area at aspects of 3:4 to 4:3",
        group="data",
    )
    random_scale: tuple[float, float] = flag(
        (0.5, 1.5), numbers(2), "range of the random scale, for --crop_rule scale", group="data"
    )
    random_flip: bool = flag(True, boolean(), "mirror half of the training images", group="data")
    void_as_background: bool = flag(
        False,
        boolean(),
        "count void pixels as the class background, in training and evaluation",
        group="data",
    )

    backbone: str = flag("small", choice(registry.BACKBONES), "feature network", group="model")
    head: str = flag("deeplabv2", choice(registry.HEADS), "features to logits", group="model")
    output_stride: int = flag(8, one_of((8, 16, 32)), "input pixels for one feature", group="model")
    weights: str = flag(
        "none",
        text(),
        "none, imagenet (Keras' own, downloaded once), or FILE: a Keras .h5, a run folder or "
        "checkpoint, a PyTorch .pth (authors' DeepLab, COCO's, torchvision's ResNet)",
        group="model",
    )
    backbone_style: str | None = flag(
        None,
        choice(RESNET_STYLES),
        "where a ResNet strides and pads: as in the source of its weights [that of --weights]",
        group="model",
    )
    normalization: str | None = flag(
        None,
        choice(NORMALIZATIONS),
        "colour scale that the backbone sees [what --weights were trained with]",
        group="model",
    )
    batch_norm: str | None = flag(
        None,
        choice(BATCH_NORM_MODES),
        "the backbone's: train, frozen, or frozen_affine (scale and shift frozen, batch statistics "
        "used) [train from scratch, frozen with pretrained weights]",
        group="model",
    )
    head_dilations: tuple[int, ...] = flag(
        (6, 12, 18, 24), integers(), "of the branches of the head deeplabv2", group="model"
    )
    align_corners: bool = flag(
        False, boolean(), "resize logits as PyTorch 0.2 did: corner pixels meet", group="model"
    )
    discriminator_channels: int = flag(
        64,
        integer(1),
        "of the discriminator's first layer; each further one doubles",
        group="model",
    )
    discriminator_outputs: int = flag(
        1, one_of((1, 2)), "its logits: of true, or of predicted and true", group="model"
    )
    discriminator_padding: str = flag(
        "same",
        choice(("same", "one", "two")),
        "TensorFlow's, or pixels on each side",
        group="model",
    )
    discriminator_init: str = flag(
        "keras", choice(("keras", "torch")), "whose default random weights", group="model"
    )
    spectral_norm: bool = flag(
        False, boolean(), "spectral normalisation of the discriminator", group="model"
    )
    discriminator_strides: int = flag(
        5, integer(0, 5), "how many of its layers have stride 2: fewer, a finer map", group="model"
    )
    discriminator_sees_image: bool = flag(
        False, boolean(), "show it the image beside the class map", group="model"
    )

    method: str = flag("semi", choice(registry.METHODS), "which losses are used", group="method")
    lambda_adv: float = flag(
        Recipe.lambda_adv, number(0), "weight of L_adv on labeled images", group="method"
    )
    lambda_adv_unlabeled: float = flag(
        Recipe.lambda_adv_unlabeled, number(0), "the same on unlabeled images", group="method"
    )
    lambda_semi: float = flag(Recipe.lambda_semi, number(0), "weight of L_semi", group="method")
    t_semi: float = flag(
        Recipe.t_semi,
        number(0, 1),
        "confidence above which an unlabeled pixel is selected",
        group="method",
    )
    t_probability: float = flag(
        Recipe.t_probability, number(0, 1), "the same for the largest probability", group="method"
    )
    selection: str | None = flag(
        None,
        choice(SELECTIONS),
        "select by --t_semi, by --t_probability, by both, or by --t_probability and weighted with "
        "the confidence; teacher: by --t_probability alone [semi: confidence; semi_plus: weighted]",
        group="method",
    )
    ema_decay: float = flag(
        Recipe.ema_decay,
        number(0, 0.9999),
        "average the segmenter's weights over steps, to be validated and exported; 0: do not, but "
        "with a teacher as by 0.99",
        group="method",
    )
    distortion: float = flag(
        0.5,
        number(0, 1),
        "strength of the change of colours that a teacher's pupil sees",
        group="method",
    )
    cutmix: bool = flag(
        True, boolean(), "mix the unlabeled images that a teacher's pupil sees", group="method"
    )
    semi_start: int | None = flag(
        None,
        integer(0),
        "first step with L_semi [a quarter of --steps; with a teacher a tenth]",
        group="method",
    )
    mixing: str = flag(
        Recipe.mixing,
        choice(MIXINGS),
        "labeled and unlabeled images in one forward, in two, or one kind a step by a coin",
        group="method",
    )
    unlabeled_fakes: bool = flag(
        Recipe.unlabeled_fakes,
        boolean(),
        "show the discriminator predictions for unlabeled images too",
        group="method",
    )
    label_smoothing: float = flag(
        Recipe.label_smoothing,
        number(0, 0.5),
        "taken off the discriminator's target for true labels, in --adversarial_loss cross_entropy",
        group="method",
    )
    discriminator_loss_scale: float = flag(
        Recipe.discriminator_loss_scale, number(0, above=True), "factor of L_D", group="method"
    )

    adversarial_loss: str = flag(
        Recipe.adversarial_loss,
        choice(ADVERSARIAL_LOSSES),
        "of discriminator and segmenter against each other; least_squares: confidence is about "
        "0.27 where it is surely false and 0.73 where surely true, so set --t_semi between",
        group="method",
    )
    truth_peak: float = flag(
        Recipe.truth_peak,
        number(0, 1),
        "show the discriminator truth as soft as the prediction, with at least this probability of "
        "the true class; 1: one-hot labels",
        group="method",
    )
    instance_noise: float = flag(
        Recipe.instance_noise,
        number(0),
        "deviation of the noise on all that the discriminator is shown",
        group="method",
    )
    discriminator_floor: float = flag(
        Recipe.discriminator_floor,
        number(0),
        "let the discriminator learn nothing from its loss while that is below",
        group="method",
    )
    lambda_confidence: float = flag(
        Recipe.lambda_confidence,
        number(0),
        "weight of a second map of the discriminator, which learns which labeled pixels are "
        "right, and is the confidence; 0: no such map",
        group="method",
    )

    steps: int = flag(10000, integer(1), "training steps", group="optimizers")
    learning_rate: float | None = flag(
        None,
        number(0, above=True),
        "of the segmenter (SGD) [0.1 from scratch, 2.5e-4 with pretrained weights]",
        group="optimizers",
    )
    discriminator_learning_rate: float = flag(
        1e-4, number(0, above=True), "of the discriminator", group="optimizers"
    )
    discriminator_optimizer: str = flag(
        "adam", choice(DISCRIMINATOR_OPTIMIZERS), "of the discriminator", group="optimizers"
    )
    discriminator_betas: tuple[float, float] = flag(
        (0.9, 0.99), numbers(2, below=1), "of the discriminator's Adam", group="optimizers"
    )
    discriminator_momentum: float = flag(
        0.5, number(0, 1), "Nesterov's, of the discriminator's SGD", group="optimizers"
    )
    discriminator_weight_decay: float = flag(
        Recipe.discriminator_weight_decay,
        number(0),
        "L2 penalty of the discriminator",
        group="optimizers",
    )
    head_learning_rate_scale: float | None = flag(
        None,
        number(0, above=True),
        "the head's rate, in the backbone's [0.1 from scratch, 10 with pretrained weights]",
        group="optimizers",
    )
    momentum: float = flag(0.9, number(0, 1), "of SGD", group="optimizers")
    nesterov: bool = flag(True, boolean(), "Nesterov's momentum", group="optimizers")
    weight_decay: float = flag(
        Recipe.weight_decay, number(0), "L2 penalty of the segmenter", group="optimizers"
    )
    poly_power: float = flag(
        0.9, number(0), "learning rate: (1 - step / steps) to this power", group="optimizers"
    )
    precision: str | None = flag(
        None,
        choice(PRECISIONS),
        "arithmetic [mixed_float16 on a GPU, else float32]",
        group="optimizers",
    )
    strategy: str = flag(
        AUTO,
        choice(STRATEGIES),
        "devices: auto takes the workers of TF_CONFIG if it names several, else all GPUs",
        group="execution",
    )
    steps_per_execution: int | None = flag(
        None,
        integer(1),
        "steps between two looks at losses and signals; --eval_every and --checkpoint_every are "
        "multiples of it [1 on a CPU, up to 10 on a GPU]",
        group="execution",
    )
    data_service: str | None = flag(
        None,
        location("grpc"),
        "let this tf.data service read and augment the training images; it keeps no order, so that "
        "runs are not repeated to the bit [none: this machine does]",
        group="execution",
    )
    recompute: bool = flag(
        False,
        boolean(),
        "compute the backbone's activations again in the backward pass: less memory, more time",
        group="execution",
    )
    deterministic: bool = flag(
        False,
        boolean(),
        "let a GPU repeat a run to the bit, which takes time; a CPU always does",
        group="execution",
    )
    profile: str | None = flag(
        None,
        span(),
        "record TensorFlow's profile of the steps after START up to STOP, for TensorBoard [none]",
        group="execution",
    )
    eval_protocol: str = flag(
        FULL,
        choice(EVAL_PROTOCOLS),
        "validate on full images, on images padded to --eval_size, or on random crops of it",
        group="evaluation",
    )
    eval_size: tuple[int, int] | None = flag(
        None, size(), "of --eval_protocol padded and random_crop", group="evaluation"
    )
    eval_checkpoint: str = flag(
        "last", choice(("last", "best")), "what evaluate.py takes", group="evaluation"
    )
    seed: int = flag(0, integer(0, 2**31 - 1), "of all randomness", group="run")
    eval_every: int | None = flag(
        None, integer(1), "steps between validations [a tenth of --steps]", group="run"
    )
    checkpoint_every: int | None = flag(
        None, integer(1), "steps between checkpoints [as --eval_every]", group="run"
    )
    run_dir: str | None = flag(
        None, text(), "folder of this run [runs/DATASET-METHOD-FRACTION-SEED]", group="run"
    )
    resume: bool = flag(False, switch(), "go on with the run in --run_dir", group="run")

    def recipe(self) -> Recipe:
        """Returns what a step computes: this configuration's weights under its method."""
        own = {field.name for field in dataclasses.fields(self)}
        names = [field.name for field in dataclasses.fields(Recipe) if field.name in own]
        weights = Recipe(**{name: getattr(self, name) for name in names})
        return registry.load(registry.METHODS, self.method)(weights)
