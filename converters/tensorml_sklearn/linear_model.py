"""Converters for sklearn.linear_model."""
