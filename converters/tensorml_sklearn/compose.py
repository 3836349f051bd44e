"""Converters for sklearn.compose."""
