from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.splitting import split_by_fraction

FRACTIONS = {"train": 0.7, "val": 0.2, "test": 0.1}


def divide(digests: list[str], seed: int = 0) -> tuple:
    return split_by_fraction(digests, fractions=FRACTIONS, seed=seed)


def test_the_shares_are_met():
    found = divide([f"{i}" for i in range(100)])
    assert [found.count(split) for split in FRACTIONS] == [70, 20, 10]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40), st.integers(0, 5))
def test_copies_of_an_image_go_to_one_split(digests: list[str], seed: int):
    found = divide(digests, seed)
    for digest in set(digests):
        assert len({split for d, split in zip(digests, found, strict=True) if d == digest}) == 1


def test_the_seed_decides_and_the_order_of_images_does_not():
    digests = [f"{i}" for i in range(50)]
    assert divide(digests) == divide(digests)
    assert divide(digests) != divide(digests, 1)
    assert divide(digests) == tuple(reversed(divide(list(reversed(digests)))))
