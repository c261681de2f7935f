import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.preprocessing import padding_share, resize_scale

SIDES = st.integers(16, 2000)


@given(SIDES, SIDES)
def test_an_image_resized_by_one_factor_fits_and_touches_a_side(height, width):
    y, x = resize_scale(
        height_px=height, width_px=width, input_size=(256, 384), keep_aspect_ratio=True
    )
    assert height * y <= 256.5
    assert width * x <= 384.5
    assert round(height * y) == 256 or round(width * x) == 384


@given(SIDES, SIDES)
def test_a_stretched_image_wastes_nothing(height, width):
    size = {"height_px": height, "width_px": width, "input_size": (256, 384)}
    assert padding_share(**size, keep_aspect_ratio=False) == pytest.approx(0, abs=1e-9)


def test_a_wide_image_in_a_square_input_wastes_what_is_below_it():
    size = {"height_px": 100, "width_px": 200, "input_size": (128, 128)}
    assert padding_share(**size, keep_aspect_ratio=True) == pytest.approx(0.5)
