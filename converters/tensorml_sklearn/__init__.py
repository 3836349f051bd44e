"""What scikit-learn's models mean. The converter of `sklearn.X.Y` is in the module `X`."""

from tensorml_sklearn import linear_model as linear_model
from tensorml_sklearn import preprocessing as preprocessing
from tensorml_sklearn import tree as tree
from tensorml_sklearn.describe import describe as describe
