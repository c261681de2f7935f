import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.models.curve import PointInTheMaking

LOSSES = st.lists(st.floats(0.01, 10), min_size=1, max_size=10)


def taken(losses, sizes):
    """Returns the point of steps taken in chunks of the given sizes; each chunk gives its mean."""
    point, start = PointInTheMaking(), 0
    for size in sizes:
        chunk = losses[start : start + size]
        mean = sum(chunk) / len(chunk)
        values = {"total_loss": mean, "cls_loss": mean / 2, "box_loss": mean / 4}
        point.add({**values, "learning_rate": 0.1 * start, "seconds": 0.5 * size}, steps=size)
        start += size
    return point.finish(start)


@given(LOSSES, st.randoms(use_true_random=False))
def test_a_point_does_not_depend_on_how_its_steps_were_chunked(losses, random):
    sizes = []
    while sum(sizes) < len(losses):
        sizes.append(random.randint(1, len(losses) - sum(sizes)))
    point, whole = taken(losses, sizes), taken(losses, [len(losses)])
    assert point.loss == pytest.approx(whole.loss) == pytest.approx(sum(losses) / len(losses))
    assert point.class_loss == pytest.approx(whole.class_loss)
    assert point.box_loss == pytest.approx(whole.box_loss)
    assert point.steps_per_s == pytest.approx(2.0)


def test_the_step_that_compiles_says_nothing_about_the_speed():
    point = PointInTheMaking()
    values = {"total_loss": 1.0, "cls_loss": 1.0, "box_loss": 1.0, "learning_rate": 0.1}
    point.add({**values, "seconds": 0.0}, steps=1)
    assert point.finish(1).steps_per_s == 0
    point.add({**values, "seconds": 0.5}, steps=2)
    assert point.finish(3).steps_per_s == pytest.approx(4.0)
