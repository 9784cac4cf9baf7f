"""Evaluation: inference at full size, metrics, tables and pictures."""
