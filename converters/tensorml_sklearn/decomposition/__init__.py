"""Converters for sklearn.decomposition, a module per family."""

from tensorml_sklearn.decomposition import components as components
from tensorml_sklearn.decomposition import factorization as factorization
from tensorml_sklearn.decomposition import sparse_coding as sparse_coding
