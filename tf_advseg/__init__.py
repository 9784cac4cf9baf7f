"""Adversarial learning for semi-supervised semantic segmentation, on Keras and TensorFlow.

The method is that of Hung, Tsai, Liou, Lin and Yang, "Adversarial Learning for Semi-Supervised
Semantic Segmentation" (BMVC 2018, arXiv 1802.07934). "Section" and "equation" in the docstrings
of this package mean that paper.
"""

__version__ = "0.1.0"
