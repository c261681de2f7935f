from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_cases import DIGEST, ledger, run_config, run_metrics, run_record

from kfdet.core.run_comparison import (
    RunResults,
    compare_runs,
    flatten,
    metric_row,
    setting_differences,
)

leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
keys = st.text(alphabet="abc", min_size=1, max_size=3)
trees = st.dictionaries(
    keys, st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3), max_leaves=8)
)  # fmt: skip
metrics = st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=6)


def run(label: str, *, ap: float | None = None, split: str = DIGEST, **config: Any) -> RunResults:
    return RunResults(
        label=label,
        record=run_record(run_config(label, **config)),
        metrics=None if ap is None else run_metrics(ap, split_digest=split, classes=("circle",)),
        ledger=ledger(0.5),
    )


def test_a_leaf_is_named_by_its_path() -> None:
    tree = {
        "a": {"b": 1, "c": [1, 2], "d": ["x"]},
        "rules": [{"metric": "ap"}, {"metric": "ap50"}],
        "empty": {},
    }
    assert flatten(tree) == {
        "a.b": 1, "a.c": "[1, 2]", "a.d": "x", "rules.0.metric": "ap", "rules.1.metric": "ap50", "empty": "{}",
    }  # fmt: skip


@given(trees)
def test_a_configuration_does_not_differ_from_itself(tree: dict[str, Any]) -> None:
    assert setting_differences([tree, tree, dict(tree)]) == ()


@given(trees, leaves, leaves)
def test_exactly_the_changed_setting_is_named(tree: dict[str, Any], a: Any, b: Any) -> None:
    found = setting_differences([{**tree, "changed": a}, {**tree, "changed": b}])
    assert [entry.key for entry in found] == ([] if type(a) is type(b) and a == b else ["changed"])


def test_a_setting_that_only_one_run_has_is_a_difference() -> None:
    (entry,) = setting_differences([{"a": 1}, {"a": 1, "b": 2}])
    assert (entry.key, entry.values) == ("b", (None, 2))


def test_a_missing_setting_and_a_null_one_are_the_same() -> None:
    assert setting_differences([{"a": None}, {}]) == ()
    (entry,) = setting_differences([{"rule": None}, {"rule": {"max_drop": 0.1, "min_gain": None}}])
    assert entry.key == "rule.max_drop"


def test_true_is_not_one_and_one_is_one_point_zero() -> None:
    assert setting_differences([{"a": 1}, {"a": True}])
    assert not setting_differences([{"a": 1}, {"a": 1.0}])


@given(metrics)
def test_the_best_are_those_that_none_exceeds(values: list[float | None]) -> None:
    row = metric_row("ap", values)
    known = [value for value in values if value is not None]
    for index, value in enumerate(values):
        if index in row.best:
            assert value == max(known)
            assert min(known) < max(known)
    if len(set(known)) > 1:
        assert row.best


@given(metrics)
def test_differences_lead_from_the_first_run_to_each(values: list[float | None]) -> None:
    row = metric_row("ap", values)
    assert row.differences[0] is None
    for value, change in zip(row.values[1:], row.differences[1:], strict=True):
        if values[0] is None or value is None:
            assert change is None
        else:
            assert change == pytest.approx(value - values[0])


def test_equal_runs_have_no_best() -> None:
    assert metric_row("ap", [0.5, 0.5, None]).best == ()


def test_the_name_of_a_run_is_no_setting() -> None:
    comparison = compare_runs([run("a", peak=0.003), run("b", peak=0.01)])
    assert [entry.key for entry in comparison.settings] == ["training.learning_rate.peak"]


def test_metrics_on_different_images_come_with_a_warning() -> None:
    same = compare_runs([run("a", ap=0.5), run("b", ap=0.6)])
    other = compare_runs([run("a", ap=0.5), run("b", ap=0.6, split="f" * 64)])
    assert same.warnings == ()
    assert "do not compare" in other.warnings[0]


def test_runs_without_metrics_leave_a_gap() -> None:
    comparison = compare_runs([run("a"), run("b", ap=0.6)])
    row = next(row for row in comparison.metrics if row.name == "ap")
    assert (row.values, row.differences, row.best) == ((None, 0.6), (None, None), ())
    assert [row.name for row in comparison.class_ap] == ["circle"]
    assert compare_runs([run("a"), run("b")]).metrics == ()
