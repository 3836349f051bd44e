"""The asv suites."""
