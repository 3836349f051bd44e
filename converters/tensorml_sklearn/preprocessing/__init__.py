"""Converters for sklearn.preprocessing: a module per family."""

from tensorml_sklearn.preprocessing import encoders as encoders
from tensorml_sklearn.preprocessing import labels as labels
from tensorml_sklearn.preprocessing import scalers as scalers
from tensorml_sklearn.preprocessing.scalers import above_threshold as above_threshold
