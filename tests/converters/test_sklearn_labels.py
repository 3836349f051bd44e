"""LabelEncoder and LabelBinarizer: labels in one dimension, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, MultiLabelBinarizer

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tests.parity import assert_equal_outputs

LABELS: dict[str, np.ndarray] = {
    "words": np.array(["red", "green", "blue", "red", "ümlaut"]),
    "objects": np.array(["red", "green", "blue", "red"], object),
    "two words": np.array(["no", "yes", "yes", "no"]),
    "one word": np.array(["only", "only"]),
    "int64": np.array([3, -1, 7, 3, 0]),
    "int8": np.array([3, -1, 7, 3], np.int8),
    "uint8": np.array([3, 200, 7, 3], np.uint8),
    "two numbers": np.array([5, 2, 2]),
    "one number": np.array([4, 4]),
    "bool": np.array([True, False, True]),
    "float64": np.array([1.0, 4.0, -2.0, 4.0]),
    "float32": np.array([1.0, 4.0, -2.0], np.float32),
}
INDICATORS = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]])


def assert_encoded(source: Any, y: Any, executor: str) -> Any:
    """There and back, equal in every bit."""
    model = tensorml.convert(source, y, executor=executor)
    codes = source.transform(y)
    assert_equal_outputs(model.transform(y), codes, "transform")
    given = codes.toarray() if hasattr(codes, "toarray") else codes
    expected = source.inverse_transform(codes)  # which overwrites a sparse matrix
    assert_equal_outputs(model.inverse_transform(given), expected, "inverse_transform")
    return model


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_encoded_and_decoded(executor: str, name: str) -> None:
    y = LABELS[name]
    for source in (LabelEncoder().fit(y), LabelBinarizer().fit(y)):
        model = assert_encoded(source, y, executor)
        assert_equal_outputs(model.transform(y[:1]), source.transform(y[:1]), "one label")
        np.testing.assert_array_equal(model.classes_, source.classes_)


@pytest.mark.parametrize("name", ["words", "int64", "bool", "float64"])
def test_lists_series_and_columns_are_read_as_the_source_reads_them(executor: str, name: str) -> None:
    y = LABELS[name]
    for source in (LabelEncoder().fit(y), LabelBinarizer().fit(y)):
        model = tensorml.convert(source, executor=executor)
        for given in (y.tolist(), pd.Series(y, name="label"), np.ascontiguousarray(y[::-1])[::-1]):
            assert_equal_outputs(model.transform(given), source.transform(given), name)
    assert_equal_outputs(model.transform(y[:, None]), source.transform(y), "a column")
    assert model.inverse_transform([0, 1]) is not None if len(model.classes_) == 2 else True


def test_the_way_back_takes_lists_and_integers_of_other_dtypes(executor: str) -> None:
    source = LabelEncoder().fit(LABELS["words"])
    model = tensorml.convert(source, executor=executor)
    for given in ([3, 0, 1], np.array([1, 2], np.uint8), np.array([[1], [0]]), pd.Series([2, 0]), np.array([True])):
        assert_equal_outputs(model.inverse_transform(given), source.inverse_transform(np.ravel(given)), "back")


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "float32", "float64", "bool"])
def test_labels_of_another_dtype_are_converted_first(executor: str, dtype: str) -> None:
    for known in (np.array([0, 1, 2]), np.array([0.0, 1.0, 2.0]), np.array([0, 1, 2], np.int8)):
        y = np.array([1, 0, 1]).astype(dtype)
        for source in (LabelEncoder().fit(known), LabelBinarizer().fit(known)):
            assert_equal_outputs(tensorml.convert(source, executor=executor).transform(y), source.transform(y), dtype)


def test_the_encoder_truncates_fractions_and_finds_nan(executor: str) -> None:
    source = LabelEncoder().fit([1, 2, 3])
    y = np.array([1.5, 2.9, 3.0])
    assert_equal_outputs(tensorml.convert(source, executor=executor).transform(y), source.transform(y), "fractions")
    missing = np.array([2.0, np.nan, 1.0, np.nan])
    assert_encoded(LabelEncoder().fit(missing), missing, executor)


@pytest.mark.parametrize("unseen", [["pink"], [9], [2.5]], ids=str)
def test_the_encoder_refuses_unseen_labels(executor: str, unseen: list[Any]) -> None:
    known: list[Any] = ["red", "blue"] if isinstance(unseen[0], str) else [1.0, 2.0]
    source = LabelEncoder().fit(known)
    with pytest.raises(ValueError, match="previously unseen"):
        source.transform(unseen)
    with pytest.raises(InputError, match="y contains previously unseen labels"):
        tensorml.convert(source, executor=executor).transform(unseen)
    for codes in ([2], [-1]):
        with pytest.raises(InputError, match="y contains previously unseen labels"):
            tensorml.convert(source, executor=executor).inverse_transform(codes)


@pytest.mark.parametrize(("neg", "pos"), [(0, 1), (-1, 1), (-2, 0), (2, 5), (0, 3)])
@pytest.mark.parametrize("name", ["words", "two words", "one word", "int64", "two numbers"])
def test_negative_and_positive_labels_are_those_of_the_binarizer(executor: str, name: str, neg: int, pos: int) -> None:
    y = LABELS[name]
    assert_encoded(LabelBinarizer(neg_label=neg, pos_label=pos).fit(y), y, executor)


@pytest.mark.parametrize("pos", [1, 7])
@pytest.mark.parametrize("name", ["words", "two words", "one word", "int8"])
def test_sparse_results_agree(executor: str, name: str, pos: int) -> None:
    y = LABELS[name]
    assert_encoded(LabelBinarizer(sparse_output=True, pos_label=pos).fit(y), y, executor)


def test_unknown_labels_have_no_column(executor: str) -> None:
    for y, known in ((["red", "pink", "blue"], LABELS["words"]), ([3, 99, 0, -5], LABELS["int64"])):
        source = LabelBinarizer(neg_label=-1).fit(known)
        assert_equal_outputs(tensorml.convert(source, executor=executor).transform(y), source.transform(y), "unknown")


def test_unknown_labels_are_refused_where_the_shape_would_depend_on_them(executor: str) -> None:
    source = LabelBinarizer().fit([1, 2])
    assert source.transform([1, 2, 3]).shape == (3, 2)
    assert source.transform([1, 3]).shape == (2, 1)
    with pytest.raises(InputError, match="labels that the binarizer of at most two classes does not know"):
        tensorml.convert(source, executor=executor).transform([1, 3])


@pytest.mark.parametrize("neg", [0, -1])
@pytest.mark.parametrize("dtype", ["int64", "int8", "float64"])
def test_matrices_of_indicators_agree(executor: str, dtype: str, neg: int) -> None:
    source = LabelBinarizer(neg_label=neg, pos_label=2).fit(INDICATORS)
    y = INDICATORS.astype(dtype)
    model = tensorml.convert(source, y, executor=executor)
    assert_equal_outputs(model.transform(y), source.transform(y), dtype)
    scores = np.array([[0.2, 3.0, 1.0], [0.6, -1.0, 0.5]])
    for given in (scores, scores.astype(np.float32), scores.astype(np.int8)):
        assert_equal_outputs(model.inverse_transform(given), source.inverse_transform(given), "back")


def test_flags_agree(executor: str) -> None:
    source = LabelBinarizer().fit(INDICATORS)
    y = INDICATORS.astype(bool)
    assert_equal_outputs(tensorml.convert(source, y, executor=executor).transform(y), source.transform(y), "flags")


def test_sparse_indicators_come_back_sparse(executor: str) -> None:
    source = LabelBinarizer(sparse_output=True).fit(sp.csr_matrix(INDICATORS))
    model = tensorml.convert(source, INDICATORS, executor=executor)
    assert_equal_outputs(model.transform(INDICATORS), source.transform(INDICATORS), "sparse")
    assert_equal_outputs(model.inverse_transform(INDICATORS), source.inverse_transform(INDICATORS), "back")


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_scores_are_decoded_by_a_threshold_or_the_largest(executor: str, dtype: str) -> None:
    scores = (np.random.default_rng(0).normal(size=(30, 4)) * 3).astype(dtype)
    four = LabelBinarizer().fit(["a", "b", "c", "d"])
    model = tensorml.convert(four, executor=executor)
    assert_equal_outputs(model.inverse_transform(scores), four.inverse_transform(scores), "four")
    two = LabelBinarizer().fit(["no", "yes"])
    model = tensorml.convert(two, executor=executor)
    for given in (scores[:, 0], scores[:, :1], scores[:, :2]):
        for threshold in (None, 0, 1, 0.25, -1.5):
            expected = two.inverse_transform(given, threshold)
            assert_equal_outputs(model.inverse_transform(given, threshold=threshold), expected, f"{threshold}")


def test_scores_that_the_source_would_misread_are_refused(executor: str) -> None:
    model = tensorml.convert(LabelBinarizer().fit(["no", "yes"]), executor=executor)
    with pytest.raises(InputError, match=r"threshold=0.1 is no float32. Pass scores of float64"):
        model.inverse_transform(np.zeros((2, 1), np.float32), threshold=0.1)
    with pytest.raises(InputError, match=r"output_type='binary', but y has 3 columns"):
        model.inverse_transform(np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"the scores of 3 classes are in one column"):
        tensorml.convert(LabelBinarizer().fit(["a", "b", "c"]), executor=executor).inverse_transform(np.zeros(2))
    with pytest.raises(InputError, match="number of class is not equal to the number of dimension"):
        tensorml.convert(LabelBinarizer().fit(INDICATORS), executor=executor).inverse_transform(np.zeros((2, 2)))


def test_labels_of_another_kind_are_refused(executor: str) -> None:
    numbers = tensorml.convert(LabelBinarizer().fit([1, 2, 300]), executor=executor)
    for y in ([0.5, 1.0], [np.nan, 1.0], [np.inf, 1.0]):
        with pytest.raises(InputError, match="continuous target data is not supported"):
            numbers.transform(y)
    with pytest.raises(InputError, match="not all labels of the binarizer fit int8"):
        numbers.transform(np.array([1, 2], np.int8))
    words = tensorml.convert(LabelEncoder().fit(["a", "b"]), executor=executor)
    with pytest.raises(InputError, match="LabelEncoder was fitted on strings; y holds int64"):
        words.transform(np.array([1, 2]))
    with pytest.raises(InputError, match="strings were expected, got a int: 1"):
        words.transform(["a", 1])
    with pytest.raises(InputError, match="y is an array of Python objects"):
        numbers.transform(np.array([1, 2], object))
    with pytest.raises(InputError, match="y is no matrix of 0 and 1"):
        tensorml.convert(LabelBinarizer().fit(INDICATORS), executor=executor).transform(np.full((2, 3), 2))
    with pytest.raises(InputError, match="0 sample"):
        words.transform(np.array([], str))
    with pytest.raises(InputError, match="X has 2 features, but LabelEncoder is expecting 1"):
        words.transform(np.array([["a", "b"]]))
    with pytest.raises(InputError, match=r"y should be a 1d array of integers, got float64 in 1 columns"):
        words.inverse_transform(np.array([0.0]))


def test_labels_that_cannot_be_reproduced_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"its labels are of dtype object and not all strings. Fit it on"):
        tensorml.convert(LabelEncoder().fit(np.array([1, 2], object)))
    with pytest.raises(UnsupportedModelError, match=r"its labels are of dtype uint64 and not all strings"):
        tensorml.convert(LabelBinarizer().fit(np.array([1, 2], np.uint64)))
    with pytest.raises(UnsupportedModelError, match=r"its input is a sequence of sets of labels, which differ in size"):
        tensorml.convert(MultiLabelBinarizer().fit([{"a"}, {"b", "c"}]))
    source = LabelBinarizer(pos_label=300).fit([1, 2, 3])
    flags = LabelBinarizer(pos_label=2).fit(INDICATORS)
    with pytest.raises(InputError, match=r"2 does not fit bool, the dtype of y. Pass y as int64"):
        tensorml.convert(flags).transform(INDICATORS.astype(bool))
    if source.transform(np.array([1], np.int8)).dtype == np.int8:  # from scikit-learn 1.9 on
        with pytest.raises(InputError, match=r"300 does not fit int8, the dtype of its result. Pass y as int64"):
            tensorml.convert(source).transform(np.array([1, 2], np.int8))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_keep_numbers_there_and_back(tmp_path: Path, suffix: str) -> None:
    source = LabelBinarizer().fit(LABELS["int64"])
    path = tmp_path / f"labels{suffix}"
    tensorml.convert(source).save(path)
    model = tensorml.load(path)
    y = LABELS["int64"]
    assert_equal_outputs(model.transform(y), source.transform(y), "transform")
    assert_equal_outputs(model.inverse_transform(source.transform(y)), y, "back")
    assert tensorml.verify(source, model, y).ok
