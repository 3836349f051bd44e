"""Converters for sklearn.preprocessing: a module per family."""

from tensorml_sklearn.preprocessing import curves as curves
from tensorml_sklearn.preprocessing import encoders as encoders
from tensorml_sklearn.preprocessing import functions as functions
from tensorml_sklearn.preprocessing import labels as labels
from tensorml_sklearn.preprocessing import scalers as scalers
from tensorml_sklearn.preprocessing import splines as splines
from tensorml_sklearn.preprocessing.scalers import above_threshold as above_threshold
