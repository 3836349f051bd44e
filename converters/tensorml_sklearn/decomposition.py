"""Converters for sklearn.decomposition."""
