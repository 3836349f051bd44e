"""Converters for sklearn.pipeline."""
