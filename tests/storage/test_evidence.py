import pytest
from evaluation_cases import assert_same_evidence, label_map, random_data
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.evidence import evidence_of, gather_evidence
from kfdet.core.matching import match_everywhere
from kfdet.core.slices import image_parts
from kfdet.errors import ArtifactError
from kfdet.schema.metrics import CocoSettings
from kfdet.storage.evidence import read_evidence, write_evidence

LABELS = label_map("circle", "square", "triangle")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(0, 8))
def test_what_is_read_is_what_was_written(tmp_path_factory, seed, images):
    folder = tmp_path_factory.mktemp("evidence") / "e"
    data = random_data(seed, images=images)
    chosen = CocoSettings(iou_thresholds=(0.3, 0.5), areas={"tiny": (0, 600)}, max_detections=(3,))
    matches = match_everywhere(data, label_map=LABELS, settings=chosen)
    evidence = evidence_of(matches, image_parts=image_parts(data))
    digest = write_evidence(folder, evidence)
    found = read_evidence(folder, images=images, digest=digest)
    assert_same_evidence(found, evidence)


def test_equal_evidence_has_an_equal_digest(tmp_path):
    evidence = gather_evidence(random_data(1), label_map=LABELS)
    assert write_evidence(tmp_path / "a", evidence) == write_evidence(tmp_path / "b", evidence)


def test_evidence_of_other_metrics_is_refused(tmp_path):
    write_evidence(tmp_path / "e", gather_evidence(random_data(1), label_map=LABELS))
    with pytest.raises(ArtifactError, match="belongs to other metrics"):
        read_evidence(tmp_path / "e", images=7, digest="0" * 64)


def test_missing_evidence_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"images\.parquet: the file is missing"):
        read_evidence(tmp_path / "e", images=7, digest="0" * 64)
