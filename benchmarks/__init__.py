"""The PyTorch oracle of the numbers, and what its cases share with the TensorFlow tests."""
