"""What the contenders do, each in a process of its own, and the networks of PyTorch's."""
