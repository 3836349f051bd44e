"""The estimators of scikit-learn that cannot be converted: for each why, and what to do instead."""

from __future__ import annotations

ONLY_FIT = "it groups or places the rows that it is fitted on and has no method for other rows"
NO_PREDICT = (
    "Fit a classifier on its labels_ and convert that, or use a clustering that predicts, such as KMeans or Birch"
)
NO_TRANSFORM = (
    "Fit a regressor on its embedding_ and convert that, or use one that transforms, such as Isomap or KernelPCA"
)
TEXT = "its input is a sequence of texts, not a table"
TOKENS = "its input is a sequence of dicts or of token lists, not a table"
BEFORE = "Call its transform() on the host and convert the models behind it"
IMAGES = "its rows are images of three or four dimensions, and it returns several patches for each"
RAGGED = "its rows hold different numbers of neighbours, in the order of scikit-learn's search"
SETS = "its input is a sequence of sets of labels, which differ in size, not a table"

REFUSED: dict[str, tuple[str, str]] = {
    "sklearn.cluster.AgglomerativeClustering": (ONLY_FIT, NO_PREDICT),
    "sklearn.cluster.DBSCAN": (ONLY_FIT, NO_PREDICT),
    "sklearn.cluster.HDBSCAN": (ONLY_FIT, NO_PREDICT),
    "sklearn.cluster.OPTICS": (ONLY_FIT, NO_PREDICT),
    "sklearn.cluster.SpectralBiclustering": (ONLY_FIT, NO_PREDICT),
    "sklearn.cluster.SpectralClustering": (ONLY_FIT, NO_PREDICT),
    "sklearn.cluster.SpectralCoclustering": (ONLY_FIT, NO_PREDICT),
    "sklearn.manifold.ClassicalMDS": (ONLY_FIT, NO_TRANSFORM),
    "sklearn.manifold.MDS": (ONLY_FIT, NO_TRANSFORM),
    "sklearn.manifold.SpectralEmbedding": (ONLY_FIT, NO_TRANSFORM),
    "sklearn.manifold.TSNE": (ONLY_FIT, NO_TRANSFORM),
    "sklearn.feature_extraction.DictVectorizer": (TOKENS, BEFORE),
    "sklearn.feature_extraction.FeatureHasher": (TOKENS, BEFORE),
    "sklearn.feature_extraction.image.PatchExtractor": (
        IMAGES,
        "Keep it in front of the converted model: convert the steps after it",
    ),
    "sklearn.feature_extraction.text.CountVectorizer": (TEXT, BEFORE),
    "sklearn.feature_extraction.text.HashingVectorizer": (TEXT, BEFORE),
    "sklearn.feature_extraction.text.TfidfVectorizer": (TEXT, BEFORE),
    "sklearn.neighbors.RadiusNeighborsTransformer": (
        RAGGED,
        "Use KNeighborsTransformer, or call it on the source model",
    ),
    "sklearn.preprocessing.MultiLabelBinarizer": (
        SETS,
        "Call it on the source model; for a column of lists make a column of 0 and 1 for each label",
    ),
}
