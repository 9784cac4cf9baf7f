"""What one training step computes, and which method uses which of its terms.

No TensorFlow here: `config` builds recipes, and the trainer reads them when its step is traced.
"""

import dataclasses

#: How the discriminator and the segmenter play; see `training.adversarial`.
CROSS_ENTROPY, HINGE, LEAST_SQUARES = ADVERSARIAL_LOSSES = (
    "cross_entropy",
    "hinge",
    "least_squares",
)

ONE_BATCH, SEPARATE, COIN_FLIP = MIXINGS = ("one_batch", "separate", "coin_flip")

#: By what a pixel of an unlabeled image is selected, and how much it counts; see
#: `training.pseudo_labels`.
CONFIDENCE, PROBABILITY, BOTH, WEIGHTED = SELECTIONS = (
    "confidence",
    "probability",
    "both",
    "weighted",
)


#: Of a teacher's weights, unless told otherwise.
EMA_DECAY = 0.99


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The segmenter's loss, L_ce + lambda_adv L_adv + lambda_semi L_semi (equation 2), and update.

    A term whose weight is zero is not computed, and neither is a forward pass that only it needs.

    Attributes:
      lambda_adv: weight of the adversarial loss on labeled images.
      lambda_adv_unlabeled: weight of the adversarial loss on unlabeled images.
      lambda_semi: weight of the cross-entropy of unlabeled images against pseudo-labels.
      t_semi: the confidence, in 0-1, above which an unlabeled pixel is selected for that term.
      t_probability: the same of the largest probability.
      selection: one of SELECTIONS; None for CONFIDENCE, or with a teacher WEIGHTED.
      semi_start: the first step at which that term counts (steps count from 0).
      teacher: whether pseudo-labels are those of the averaged weights, on images as they are, for
        the segmenter to find on distorted and mixed ones; otherwise its own. Methods set it.
      ema_decay: of the averaged weights, which are then what is validated and exported; 0 for none.
      weight_decay: L2 penalty; added to the gradient, as PyTorch's and Caffe's SGD do.
      head_learning_rate_scale: how many times the backbone's rate the head learns with.
      mixing: one of MIXINGS: whether labeled and unlabeled images go through the segmenter
        together, in two forward passes (batch norm then sees one kind at a time, unlabeled images
        first, as in the authors' train.py), or one kind a step, chosen by a coin.
      unlabeled_fakes: whether the discriminator learns from unlabeled images' predictions too.
      label_smoothing: in 0-0.5, taken off the discriminator's target of 1 for true labels.
      discriminator_loss_scale: factor of the discriminator's loss.
      discriminator_weight_decay: L2 penalty of the discriminator, added to its gradient.
      adversarial_loss: one of ADVERSARIAL_LOSSES.
      truth_peak: in 0-1, the least probability of the true class in what the discriminator is shown
        as truth; the rest is parted as the prediction parts it. 1 shows one-hot labels.
      instance_noise: standard deviation of what is added to all that the discriminator is shown.
      discriminator_floor: the loss below which the discriminator learns nothing from it, so that
        it cannot win; 0 for never. What it learned before carries it on for some steps.
      lambda_confidence: weight, in the discriminator's loss, of the cross-entropy of its second
        map, which tells right pixels of labeled images' predictions from wrong ones; 0 for none.
    """

    lambda_adv: float = 0.01
    lambda_adv_unlabeled: float = 0.001
    lambda_semi: float = 0.1
    t_semi: float = 0.2
    t_probability: float = 0.9
    selection: str | None = None
    semi_start: int = 5000
    teacher: bool = False
    ema_decay: float = 0.0
    weight_decay: float = 1e-4
    head_learning_rate_scale: float = 10.0
    mixing: str = ONE_BATCH
    unlabeled_fakes: bool = False
    label_smoothing: float = 0.0
    discriminator_loss_scale: float = 1.0
    discriminator_weight_decay: float = 0.0
    adversarial_loss: str = CROSS_ENTROPY
    truth_peak: float = 1.0
    instance_noise: float = 0.0
    discriminator_floor: float = 0.0
    lambda_confidence: float = 0.0

    @property
    def uses_unlabeled(self) -> bool:
        """Whether any term of either network's loss is taken on unlabeled images."""
        return bool(self.lambda_adv_unlabeled or self.lambda_semi or self.unlabeled_fakes)

    @property
    def uses_discriminator(self) -> bool:
        """Whether any term needs the discriminator's judgement, so that it must be trained."""
        adversarial = self.lambda_adv or self.lambda_adv_unlabeled or self.unlabeled_fakes
        return bool(adversarial or (self.lambda_semi and self.selected_by != PROBABILITY))

    @property
    def selected_by(self) -> str:
        """The one of SELECTIONS that is used."""
        return self.selection or (WEIGHTED if self.teacher else CONFIDENCE)


def baseline(recipe: Recipe) -> Recipe:
    """Cross-entropy on the labeled images only ("Baseline" in the paper's tables)."""
    return dataclasses.replace(adv(recipe), lambda_adv=0.0)


def adv(recipe: Recipe) -> Recipe:
    """Cross-entropy and the adversarial loss on labeled images ("+ L_adv")."""
    return dataclasses.replace(
        recipe, lambda_adv_unlabeled=0.0, lambda_semi=0.0, unlabeled_fakes=False
    )


def semi(recipe: Recipe) -> Recipe:
    """All three terms, the last two on unlabeled images too ("+ L_adv + L_semi")."""
    return recipe


def teacher(recipe: Recipe) -> Recipe:
    """Averaged weights teach on unlabeled images; there is no discriminator.

    Mean teacher (Tarvainen and Valpola, arXiv 1703.01780) with CutMix, as French et al. (arXiv
    1906.01916) have it.
    """
    return dataclasses.replace(
        recipe,
        teacher=True,
        ema_decay=recipe.ema_decay or EMA_DECAY,
        selection=PROBABILITY,
        lambda_adv=0.0,
        lambda_adv_unlabeled=0.0,
        unlabeled_fakes=False,
    )


def semi_plus(recipe: Recipe) -> Recipe:
    """As `teacher`, with the discriminator: its losses, and its confidence in the pseudo-labels."""
    return dataclasses.replace(
        recipe,
        teacher=True,
        ema_decay=recipe.ema_decay or EMA_DECAY,
    )
