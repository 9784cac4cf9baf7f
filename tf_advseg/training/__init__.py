"""Training: losses, the adversarial trainer, optimizers, callbacks, and the run around them."""
