import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.confusion import in_short
from kfdet.schema.metrics import Confusion


def confusion(matrix, labels=None):
    matrix = np.asarray(matrix)
    names = labels or [*(f"class {k}" for k in range(len(matrix) - 1)), "background"]
    return Confusion(score=0.5, labels=tuple(names), matrix=tuple(map(tuple, matrix.tolist())))


@given(classes=st.integers(0, 40), most=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_every_box_stays_counted_once(classes, most, seed):
    matrix = np.random.default_rng(seed).integers(0, 9, (classes + 1, classes + 1))
    short = in_short(confusion(matrix), most=most)
    assert len(short.labels) == len(set(short.labels)) <= most + 2
    found = np.array(short.matrix)
    assert found.sum() == matrix.sum()
    # What was missed and what was made up stays so.
    assert found[-1].sum() == matrix[-1].sum()
    assert found[:, -1].sum() == matrix[:, -1].sum()
    if classes <= most:
        np.testing.assert_array_equal(found, matrix)


def test_the_classes_that_are_mixed_up_most_are_kept_apart():
    matrix = np.zeros((101, 101), int)
    matrix[70, 30] = 5
    matrix[10, 100] = 50
    short = in_short(confusion(matrix), most=3)
    assert short.labels == ("class 10", "class 30", "class 70", "97 other classes", "background")
    assert short.matrix[2][1] == 5


def test_a_class_that_is_called_background_is_told_from_it():
    short = in_short(confusion(np.eye(2, dtype=int), labels=["background", "background"]))
    assert short.labels == ("background", "background *")


def test_what_the_cluster_stores_of_hundreds_of_classes_is_small(tmp_path):
    from kfp.dsl import ClassificationMetrics

    matrix = np.full((501, 501), 10**6)
    artifact = ClassificationMetrics(uri=str(tmp_path / "confusion"))
    short = in_short(confusion(matrix))
    artifact.log_confusion_matrix(list(short.labels), [list(row) for row in short.matrix])
    assert len(str(artifact.metadata)) < 10_000
