"""Converters for sklearn.svm."""

from __future__ import annotations

from sklearn.svm import LinearSVC, LinearSVR

from tensorml.converter import converter
from tensorml_sklearn.linear_model import linear_classifier, linear_regressor

converter(LinearSVC)(linear_classifier)
converter(LinearSVR)(linear_regressor)
