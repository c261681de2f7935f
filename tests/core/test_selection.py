import pytest

from kfdet.core.selection import best_entry, ledger_of, still_valid
from kfdet.errors import DataError
from kfdet.schema.metrics import COCO, METRIC_NAMES, CocoSettings, CocoStatistics
from kfdet.schema.training import CheckpointRef, LedgerEntry


def entry(step, ap):
    metrics = CocoStatistics(**{**dict.fromkeys(METRIC_NAMES), "ap": ap})
    ref = CheckpointRef(step=step, uri=f"ckpt-{step}", digest="0" * 64)
    return LedgerEntry(checkpoint=ref, metrics=metrics, evaluation_time_s=1.0)


def test_the_highest_value_wins():
    entries = [entry(10, 0.1), entry(20, 0.3), entry(30, 0.2)]
    assert best_entry(entries, metric="ap").checkpoint.step == 20


def test_the_earliest_of_equals_wins_in_any_order():
    entries = [entry(30, 0.3), entry(10, 0.3), entry(20, 0.3)]
    assert best_entry(entries, metric="ap").checkpoint.step == 10


def test_zero_is_a_value_and_undefined_is_none():
    assert best_entry([entry(10, None), entry(20, 0.0)], metric="ap").checkpoint.step == 20


def test_a_metric_that_is_nowhere_defined_chooses_nothing():
    with pytest.raises(DataError, match="ap50 is undefined"):
        best_entry([entry(10, 0.5)], metric="ap50")


def test_a_ledger_is_in_the_order_of_steps():
    ledger = ledger_of(
        [entry(30, 0.2), entry(10, 0.1)], split_digest="a" * 64, settings=COCO, metric="ap"
    )
    assert [one.checkpoint.step for one in ledger.entries] == [10, 30]
    assert ledger.best_step == 30


def test_only_what_would_be_measured_alike_again_is_kept():
    half = CocoSettings(iou_thresholds=(0.5,))
    ledger = ledger_of([entry(10, 0.1)], split_digest="a" * 64, settings=COCO, metric="ap")
    assert still_valid(ledger, split_digest="a" * 64, settings=COCO) == {"0" * 64: entry(10, 0.1)}
    assert not still_valid(ledger, split_digest="a" * 64, settings=half)
    assert not still_valid(ledger, split_digest="b" * 64, settings=COCO)
    assert not still_valid(None, split_digest="a" * 64, settings=COCO)
