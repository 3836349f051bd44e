"""What XGBoost's models mean."""

from tensorml_xgboost import models as models
from tensorml_xgboost.models import describe as describe
from tensorml_xgboost.source import call as call
from tensorml_xgboost.source import load_model as load_model
