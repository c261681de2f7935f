"""Real images: nothing that was reached there may lie above what is told beforehand."""

from pathlib import Path

import pytest
from dataset_cases import QUIET

from kfdet.core.feasibility.assess import Question, assess
from kfdet.core.feasibility.objects import gather_objects
from kfdet.core.feasibility.power import spread_curves
from kfdet.core.uncertainty import Subject
from kfdet.core.validation.catalogue import severities
from kfdet.schema.dataset import SPLITS, Manifest
from kfdet.schema.metrics import CocoStatistics
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages import data_convert_voc, validate
from kfdet.storage.documents import read_document
from kfdet.storage.run_config import read_run_config
from kfdet.storage.splits import read_split

ROOT = Path(__file__).parents[3]
BCCD = ROOT.parent / "shared" / "data" / "bccd"
pytestmark = [
    pytest.mark.bccd,
    pytest.mark.skipif(not BCCD.exists(), reason="the BCCD images are not beside the project"),
]

# A detector trained with configs/bccd.yaml, and the standard errors of its own evaluation.
REACHED = CocoStatistics(
    ap=0.5923, ap50=0.9034, ap75=0.6828, ap_small=0.3904, ap_medium=0.4866, ap_large=0.4926,
    ar_1=0.3881, ar_10=0.6332, ar_100=0.6959, ar_small=0.4857, ar_medium=0.6167, ar_large=0.8096,
)  # fmt: skip
MEASURED = {
    ("ap", None): (0.5923, 0.0135), ("ap", 1): (0.4619, 0.0286), ("ap", 2): (0.5713, 0.0195),
    ("ap", 3): (0.7438, 0.0189), ("ap50", None): (0.9034, 0.0136), ("ap50", 1): (0.8784, 0.0352),
    ("ap50", 2): (0.8570, 0.0201), ("ap50", 3): (0.9750, 0.0160),
}  # fmt: skip


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bccd")
    data = folder / "data"
    data_convert_voc.run(source=BCCD, out=data, progress=QUIET)
    dataset = DatasetConfig.model_validate(
        {"label_map": f"{data}/label_map.pbtxt", **{s: f"{data}/{s}-*" for s in SPLITS}}
    )
    names = ("manifest", "statistics", "findings", "report")
    validate.run(dataset=dataset, progress=QUIET, **{name: folder / name for name in names})
    manifest = read_document(Manifest, folder / "manifest")
    objects = {
        split: gather_objects(read_split(manifest.split(split)), split=split) for split in SPLITS
    }
    return manifest, objects


def asked(manifest, **nms):
    config = read_run_config(ROOT / "configs" / "bccd.yaml")
    detector = config.detector.model_copy(
        update={"nms": config.detector.nms.model_copy(update=nms)}
    )
    return Question(
        detector=detector, training=config.training, policy=config.gate,
        label_map=manifest.label_map, severities=severities({}),
    )  # fmt: skip


def test_the_blood_cells_can_pass_and_no_ceiling_lies_below_what_was_reached(case):
    manifest, objects = case
    answer = assess(asked(manifest), objects, test_digest=manifest.test.digest)
    assert answer.verdict == "can_pass"
    assert answer.counts == {"rule-decided-by-chance": 1}
    assert answer.ceilings.oracle.ap == 1.0
    for name, value in REACHED.named().items():
        assert value <= answer.ceilings.ceiling.value(name)
    assert sum(entry.losses.suppressed for entry in answer.ceilings.classes) == 1
    whole, small = answer.anchors.rows[0], answer.anchors.rows[5]
    assert (whole.boxes, small.class_name, small.size) == (2804, "Platelets", "small")
    assert whole.matched == pytest.approx(0.994, abs=1e-3)
    assert small.matched == pytest.approx(16 / 22)
    assert answer.anchors.suggestion is None
    assert answer.resize[0].padding_share == pytest.approx(0.25)


def test_one_detection_an_image_can_not_pass_there(case):
    manifest, objects = case
    answer = assess(
        asked(manifest, max_detections=1), objects, test_digest=manifest.test.digest
    )  # fmt: skip
    assert answer.verdict == "cannot_pass"
    assert answer.rules[0].outcome == "out_of_reach"


def test_errors_told_beforehand_are_near_those_of_the_trained_detector(case):
    manifest, objects = case
    subjects = [Subject(metric=metric, class_id=k) for metric, k in MEASURED]
    curves = spread_curves(objects["test"], subjects, label_map=manifest.label_map)
    for subject, (value, error) in zip(subjects, MEASURED.values(), strict=True):
        assert 0.6 < curves[subject].at(value, paired=False) / error < 1.7
