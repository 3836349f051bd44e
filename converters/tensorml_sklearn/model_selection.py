"""Converters for sklearn.model_selection."""
