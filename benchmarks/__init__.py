"""The PyTorch oracle of the numbers, its cases, and measurements of speed and memory."""
