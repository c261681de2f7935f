import numpy as np
import pyarrow as pa
import pytest

from kfdet.storage.columns import to_arrow, to_numpy


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.uint16(), pa.float32(), pa.float64()])
def test_numbers_go_there_and_back(kind):
    values = np.arange(7)
    column = pa.chunked_array([to_arrow(values[:3], kind), to_arrow(values[3:], kind)])
    assert column.type == kind
    np.testing.assert_array_equal(to_numpy(column), values)
    np.testing.assert_array_equal(to_numpy(column.slice(2, 4)), values[2:6])


def test_truth_values_are_unpacked():
    values = [True, False, True, True, False, False, True, False, True, True]
    column = pa.chunked_array([pa.array(values)])
    assert to_numpy(column).tolist() == values
    assert to_numpy(column.slice(3, 5)).tolist() == values[3:8]


def test_nothing_is_an_empty_array():
    assert to_numpy(pa.chunked_array([], pa.int64())).shape == (0,)
