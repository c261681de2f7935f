"""Records made to use up memory or time: each is answered with a finding, within limits of both.

Each case runs in a process of its own that the system ends at 20 s of CPU or at the memory that is
allowed beyond what the process began with.
"""

from __future__ import annotations

import pytest
from dataset_cases import examine_record
from hostile_cases import CASES, limited

from kfdet.core.validation.boxes import Names

NAMES = Names(aliases={1: ("cat",), 2: ("dog",)})


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_record_is_a_finding_within_limits(case: str):
    build, code = CASES[case]
    record = build()

    def codes() -> set[str]:
        return {fault.code for fault in examine_record(record, names=NAMES).faults}

    assert code in limited(codes)


def test_the_limits_hold_back_what_is_beyond_them():
    with pytest.raises(AssertionError, match="used up"):
        limited(lambda: len(bytearray(2 << 30)))
    with pytest.raises(AssertionError, match="used up"):
        limited(lambda: sum(1 for _ in iter(int, 1)), cpu_s=1)
