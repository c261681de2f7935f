from evaluation_cases import digest, metrics, statistics, write_export

from kfdet.core.gating import decide
from kfdet.core.model_card import model_card
from kfdet.schema.gate_policy import GatePolicy, GateRule


def card(folder, measured):
    policy = GatePolicy(rules=(GateRule(metric="ap", at_least=0.1),))
    return model_card(
        model="shapes",
        version=3,
        run="nightly",
        created="2026-01-01T00:00:00+00:00",
        export=write_export(folder),
        metrics=measured,
        decision=decide(measured, policy=policy, champion=None),
    )


def test_the_card_says_what_how_good_why_and_how_to_load(tmp_path):
    text = card(tmp_path, metrics(statistics(0.75, ap_small=None)))
    assert text.startswith("# shapes, version 3\n")
    assert "Model Garden's retinanet with a ResNet-50, input 128 × 128 px" in text
    assert "| **all classes** | 20 | 0.750 | 0.750 | 0.750 | – |" in text
    assert "- ap is 0.7500, at least 0.1." in text
    assert "8 images went through both: 20 detections compared, 0 mismatches" in text
    assert 'tf.saved_model.load("saved_model")' in text
    assert "Class ids are 1 circle, 2 square" in text
    assert digest("test") in text
    assert text.endswith("Made with tensorflow 2.20.0.\n")


def test_names_cannot_break_a_table(tmp_path):
    text = card(tmp_path, metrics(classes={"a|b\nc": statistics(), "*bold*": statistics()}))
    assert "| a\\|b c | 10 |" in text
    assert "| \\*bold\\* | 10 |" in text


def test_equal_facts_give_equal_cards(tmp_path):
    assert card(tmp_path, metrics()) == card(tmp_path, metrics())
