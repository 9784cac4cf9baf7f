"""Serving: the exported SavedModel, its signatures, and the check that it equals its checkpoint."""
