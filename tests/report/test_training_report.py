import pytest
from checks import check_page, parsed, text_of
from run_cases import HOSTILE, ledger, resolved_experiment, training_summary

from kfdet.report.training import build


def test_a_training_without_ledger_lists_its_checkpoints() -> None:
    html = build(training_summary(resumed_from=100), resolved_experiment(), None, "ap")
    check_page(html)
    text = text_of(html)
    assert "models/a/ckpt-300" in text
    assert "resumed at step 100" in text
    assert "Selection" not in text
    assert "tensorboard --logdir 'models/my model'" in text


def test_the_selected_checkpoint_is_marked_and_named() -> None:
    html = build(training_summary(), resolved_experiment(), ledger(0.3, 0.8, 0.7), "ap")
    check_page(html)
    assert "step 200 selected" in text_of(html)
    rows = [attributes for tag, attributes in parsed(html).tags if tag == "tr"]
    assert [row.get("class") for row in rows].count("marked") == 1


@pytest.mark.parametrize(
    ("aps", "advice"),
    [
        ((0.3, 0.5, 0.7), "more steps may still help"),
        ((0.3, 0.8, 0.7), "fell from 0.800 at step 200 to 0.700"),
        ((0.3, 0.8, 0.795), "has levelled off"),
        ((0.3, 0.8, 0.801), "has levelled off"),
        ((0.8,), "one checkpoint only"),
        ((0.0, 0.0, 0.0), "has learnt nothing"),
        ((None, None, None), "is undefined on val"),
    ],
)
def test_the_course_of_the_metric_is_read_for_the_reader(
    aps: tuple[float | None, ...], advice: str
) -> None:
    html = build(training_summary(), resolved_experiment(), ledger(*aps), "ap")
    check_page(html)
    assert advice in text_of(html)


def test_a_training_without_a_curve_still_has_a_page() -> None:
    summary = training_summary().model_copy(update={"curve": (), "checkpoints": ()})
    html = build(summary, resolved_experiment(), None, "ap")
    check_page(html)
    assert text_of(html).count("No data.") == 4


def test_class_names_never_become_markup() -> None:
    check_page(
        build(training_summary(), resolved_experiment(class_name=HOSTILE), ledger(0.5), "ap")
    )
