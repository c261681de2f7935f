"""Numbers in sentences."""

from kfdet.wording import plural


def test_one_is_singular_and_everything_else_is_not() -> None:
    assert [plural(n, "image") for n in (0, 1, 2000)] == ["0 images", "1 image", "2,000 images"]
    assert (plural(1, "box"), plural(2, "box")) == ("1 box", "2 boxes")
    assert plural(2, "copy", "copies") == "2 copies"
