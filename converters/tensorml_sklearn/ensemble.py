"""Converters for sklearn.ensemble."""
