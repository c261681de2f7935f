from checks import check_page, text_of
from evaluation_cases import digest
from feasibility_cases import DETECTOR, objects_of, scattered
from run_cases import HOSTILE

from kfdet.core.feasibility.assess import Question, assess
from kfdet.core.validation.catalogue import severities
from kfdet.report.feasibility import feasibility_page
from kfdet.schema.dataset import ClassLabel, LabelMap
from kfdet.schema.feasibility import Estimates
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.training import ResolvedExperiment
from kfdet.schema.training_config import TrainingConfig

LABELS = LabelMap(classes=(ClassLabel(id=1, name="cat"), ClassLabel(id=2, name=HOSTILE)))
TRAINING = TrainingConfig.model_validate({"steps": 500, "batch_size": 8, "checkpoint_every": 100})
ESTIMATES = Estimates(
    device="GPU NVIDIA H100", parameters=1_234_567, measured_steps=12, step_time_s=0.25,
    startup_time_s=20.0, training_time_s=125.0, selection_time_s=30.0, evaluation_time_s=5.0,
    total_time_s=240.0, memory_bytes=1_500_000_000, device_memory_bytes=3_000_000_000,
    checkpoints=5, checkpoint_bytes=15_000_000, disk_bytes=75_000_000,
    free_disk_bytes=10_000_000_000,
)  # fmt: skip


def page_of(*rules, test=None, estimates=None, detector=DETECTOR, **policy) -> str:
    question = Question(
        detector=detector,
        training=TRAINING,
        policy=GatePolicy.model_validate({"rules": rules, "no_champion": "pass", **policy}),
        label_map=LABELS,
        severities=severities({}),
    )
    train = scattered(0, split="train", side=(50.0, 90.0), most=2)
    splits = {"train": train, "val": scattered(1, split="val"), "test": test or scattered(2)}
    answer = assess(question, splits, test_digest=digest("test"), estimates=estimates)
    experiment = ResolvedExperiment(
        experiment="retinanet", detector=detector, training=TRAINING, label_map=LABELS,
        train_digest=digest("train"), train_images=40, params={},
    )  # fmt: skip
    return feasibility_page(answer, experiment)


def test_the_page_of_a_gate_within_reach_has_ceilings_plots_and_power():
    html = page_of({"metric": "ap", "at_least": 0.5, "champion": {"max_drop": 0.02}})
    check_page(html)
    text = text_of(html)
    for words in (
        "Rules of the gate", "Ceilings", "Anchors and boxes", "What the test set can tell",
        "Width to height of the training boxes", "Height to width of the training boxes",
        "Sizes of the training boxes, and the anchors' sides", "scores 1",
        "ap at least the champion's minus 0.02", "What would be trained", "500 steps of 8 images",
    ):  # fmt: skip
        assert words in text
    assert "Time, memory and disk" not in text


def test_a_gate_out_of_reach_says_so_first_with_what_to_change():
    pair = [(0.0, 0.0, 100.0, 100.0), (15.0, 0.0, 115.0, 100.0)]
    nms = DETECTOR.nms.model_copy(update={"iou_threshold": 0.05})
    html = page_of(
        {"metric": "ap", "at_least": 0.95}, {"metric": "ap50", "at_least": 0.9},
        test=objects_of([pair] * 20), detector=DETECTOR.model_copy(update={"nms": nms}),
    )  # fmt: skip
    check_page(html)
    text = text_of(html)
    assert "cannot pass" in text
    assert "No detector passes the gate" in text
    assert "What to change" in text
    assert text.index("Raise detector.nms.iou_threshold") < text.index("Above the ceiling")
    assert "objects-suppressed: 20" in text


def test_estimates_are_told_with_their_units():
    text = text_of(page_of({"metric": "ap", "at_least": 0.5}, estimates=ESTIMATES))
    assert "250 ms a step over 12 steps" in text
    assert "3 GB on the device" in text
    assert "5 of 15 MB: 75 MB, of 10 GB free" in text


def test_hostile_class_names_stay_text():
    check_page(page_of({"metric": "ap50", "class_name": HOSTILE, "at_least": 0.5}))
