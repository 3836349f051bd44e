"""Converters for sklearn.ensemble, a module per family."""

from tensorml_sklearn.ensemble import forest as forest
from tensorml_sklearn.ensemble import gradient_boosting as gradient_boosting
from tensorml_sklearn.ensemble import hist_gradient_boosting as hist_gradient_boosting
