from checks import check_page, parsed, text_of
from run_cases import HOSTILE, ledger, run_config, run_metrics, run_record, training_summary

from kfdet.core.run_comparison import RunResults, compare_runs
from kfdet.report.compare import build


def finished(label: str, ap: float, *, peak: float = 0.003) -> RunResults:
    return RunResults(
        label=label,
        record=run_record(run_config(peak=peak)),
        summary=training_summary(),
        ledger=ledger(ap - 0.1, ap),
        metrics=run_metrics(ap, classes=("circle", HOSTILE)),
    )


def test_runs_stand_side_by_side_with_differences_to_the_first() -> None:
    html = build(compare_runs([finished("a", 0.7), finished(HOSTILE, 0.8, peak=0.01)]))
    check_page(html)
    text = text_of(html)
    assert "training.learning_rate.peak 0.003 0.01" in text
    assert "ap50 0.700 0.800 +0.100 ★" in text


def test_a_run_that_failed_early_takes_its_place() -> None:
    broken = RunResults(
        label="broken", record=run_record(failed="validate"), notes=("summary is gone",)
    )
    html = build(compare_runs([finished("a", 0.7), broken]))
    check_page(html)
    assert "validate failed" in text_of(html)
    assert "broken: summary is gone" in text_of(html)


def test_runs_that_all_failed_still_compare() -> None:
    runs = [RunResults(label=name, record=run_record(failed="validate")) for name in "ab"]
    html = build(compare_runs(runs))
    check_page(html)
    text = text_of(html)
    assert "All settings are the same" in text
    assert "No run was measured" in text


def test_one_run_alone_and_many_runs_have_a_page() -> None:
    check_page(build(compare_runs([finished("a", 0.7)])))
    html = build(compare_runs([finished(f"run {k}", 0.5 + k / 40) for k in range(10)]))
    check_page(html)
    legends = [a for tag, a in parsed(html).tags if tag == "div" and a.get("class") == "legend"]
    assert legends
