"""Converters for sklearn.ensemble, a module per family."""

from tensorml_sklearn.ensemble import bagging as bagging
from tensorml_sklearn.ensemble import forest as forest
from tensorml_sklearn.ensemble import gradient_boosting as gradient_boosting
from tensorml_sklearn.ensemble import hist_gradient_boosting as hist_gradient_boosting
from tensorml_sklearn.ensemble import isolation_forest as isolation_forest
from tensorml_sklearn.ensemble import stacking as stacking
from tensorml_sklearn.ensemble import voting as voting
from tensorml_sklearn.ensemble import weight_boosting as weight_boosting
