"""Runs an export on engines that are not this project's code: `python -m serving.check`."""
