"""What LightGBM's models mean."""

from tensorml_lightgbm import models as models
from tensorml_lightgbm.models import describe as describe
from tensorml_lightgbm.source import call as call
from tensorml_lightgbm.source import load_model as load_model
from tensorml_lightgbm.source import restore as restore
