"""What scikit-learn's models mean. The converter of `sklearn.X.Y` is in the module `X`."""

from tensorml_sklearn import compose as compose
from tensorml_sklearn import decomposition as decomposition
from tensorml_sklearn import ensemble as ensemble
from tensorml_sklearn import feature_selection as feature_selection
from tensorml_sklearn import impute as impute
from tensorml_sklearn import linear_model as linear_model
from tensorml_sklearn import model_selection as model_selection
from tensorml_sklearn import pipeline as pipeline
from tensorml_sklearn import preprocessing as preprocessing
from tensorml_sklearn import svm as svm
from tensorml_sklearn import tree as tree
from tensorml_sklearn.describe import contained as contained
from tensorml_sklearn.describe import describe as describe
