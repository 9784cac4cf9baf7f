"""What one training step computes, and which method uses which of its terms.

No TensorFlow here: `config` builds recipes, and the trainer reads them when its step is traced.
"""

import dataclasses

ONE_BATCH, SEPARATE, COIN_FLIP = MIXINGS = ("one_batch", "separate", "coin_flip")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The segmenter's loss, L_ce + lambda_adv L_adv + lambda_semi L_semi (equation 2), and update.

    A term whose weight is zero is not computed, and neither is a forward pass that only it needs.

    Attributes:
      lambda_adv: weight of the adversarial loss on labeled images.
      lambda_adv_unlabeled: weight of the adversarial loss on unlabeled images.
      lambda_semi: weight of the cross-entropy of unlabeled images against their own prediction.
      t_semi: the confidence, in 0-1, above which an unlabeled pixel is selected for that term.
      semi_start: the first step at which that term counts (steps count from 0).
      weight_decay: L2 penalty; added to the gradient, as PyTorch's and Caffe's SGD do.
      head_learning_rate_scale: how many times the backbone's rate the head learns with.
      mixing: one of MIXINGS: whether labeled and unlabeled images go through the segmenter
        together, in two forward passes (batch norm then sees one kind at a time, unlabeled images
        first, as in the authors' train.py), or one kind a step, chosen by a coin.
      unlabeled_fakes: whether the discriminator learns from unlabeled images' predictions too.
      label_smoothing: in 0-0.5, taken off the discriminator's target of 1 for true labels.
      discriminator_loss_scale: factor of the discriminator's loss.
      discriminator_weight_decay: L2 penalty of the discriminator, added to its gradient.
    """

    lambda_adv: float = 0.01
    lambda_adv_unlabeled: float = 0.001
    lambda_semi: float = 0.1
    t_semi: float = 0.2
    semi_start: int = 5000
    weight_decay: float = 1e-4
    head_learning_rate_scale: float = 10.0
    mixing: str = ONE_BATCH
    unlabeled_fakes: bool = False
    label_smoothing: float = 0.0
    discriminator_loss_scale: float = 1.0
    discriminator_weight_decay: float = 0.0

    @property
    def uses_unlabeled(self) -> bool:
        """Whether any term of either network's loss is taken on unlabeled images."""
        return bool(self.lambda_adv_unlabeled or self.lambda_semi or self.unlabeled_fakes)

    @property
    def uses_discriminator(self) -> bool:
        """Whether any term needs the discriminator's judgement, so that it must be trained."""
        return bool(self.lambda_adv or self.uses_unlabeled)


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
