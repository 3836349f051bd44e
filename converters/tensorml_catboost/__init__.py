"""What CatBoost's models mean."""

from tensorml_catboost import models as models
from tensorml_catboost.models import describe as describe
from tensorml_catboost.source import call as call
from tensorml_catboost.source import load_model as load_model
