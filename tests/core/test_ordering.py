import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.ordering import ascending, descending

scores = st.lists(
    st.sampled_from([0.0, -0.0, 0.5, 1e-40, -3.0]) | st.floats(allow_nan=False, width=32)
)


@given(values=scores, dtype=st.sampled_from([np.float32, np.float64]))
def test_descending_is_a_stable_sort_whatever_the_sign_and_the_precision(values, dtype):
    column = np.array(values, dtype)
    np.testing.assert_array_equal(descending(column), np.argsort(-column, kind="stable"))


@given(values=st.lists(st.integers(-5, 5) | st.integers(-(2**40), 2**40)))
def test_ascending_is_a_stable_sort(values):
    column = np.array(values, np.int64)
    np.testing.assert_array_equal(ascending(column), np.argsort(column, kind="stable"))
