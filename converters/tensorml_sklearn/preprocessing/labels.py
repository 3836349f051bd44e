"""The encoders of labels, which are refused: what they read is not a table."""

from __future__ import annotations

from typing import NoReturn

from sklearn.preprocessing import LabelBinarizer, LabelEncoder, MultiLabelBinarizer

from tensorml.converter import converter, unsupported
from tensorml.graph import Op


@converter(LabelEncoder, LabelBinarizer, MultiLabelBinarizer)
def label_encoder(model: LabelEncoder | LabelBinarizer | MultiLabelBinarizer, x: Op) -> NoReturn:
    """Raise UnsupportedModelError."""
    raise unsupported(
        model,
        "it encodes labels y, which are a list or a one-dimensional array, and a converted model reads a table X",
        "Encode labels with the source model; for columns of X use OrdinalEncoder or OneHotEncoder",
    )
