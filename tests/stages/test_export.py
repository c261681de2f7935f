import re

import numpy as np
import pytest
from detector_cases import QUIET

from kfdet.errors import ArtifactError, ParityError
from kfdet.schema.run_config import ParityConfig
from kfdet.stages import evaluate, export
from kfdet.storage.exports import read_export
from kfdet.storage.shards import read_shard
from kfdet.storage.splits import read_split

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


def exported(tiny, folder, **changes):
    ref = tiny.summary.checkpoints[-1]
    inputs = {
        "experiment": tiny.experiment_file,
        "manifest": tiny.manifest_file,
        "checkpoint": ref.uri,
        "checkpoint_digest": ref.digest,
        "checkpoint_step": ref.step,
        "parity": ParityConfig(images=6),
        "export_root": str(folder / "exports"),
        "export_manifest": folder / "export.json",
        "report": folder / "export.html",
        "progress": QUIET,
    }
    return export.run(**{**inputs, **changes})


def test_the_export_is_proven_whole_and_answers_every_signature(exported_tiny):
    manifest = read_export(exported_tiny)
    assert manifest.parity.passed
    assert manifest.parity.images == 6
    assert manifest.parity.detections > 100
    assert set(manifest.signatures) == {"serving_default", "image_bytes", "tf_example"}
    assert manifest.checkpoint_step == 60
    assert {"saved_model/saved_model.pb", "label_map.pbtxt"} <= {f.path for f in manifest.files}


def test_the_export_holds_no_path_of_the_machine_that_made_it(exported_tiny, tiny):
    for file in exported_tiny.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert str(tiny.folder).encode() not in content
            assert not re.search(rb"/site-packages/|/home/|/work/", content), file


def test_a_repeated_export_is_the_one_that_is_there(exported_tiny, tiny, monkeypatch):
    monkeypatch.setattr(export, "_export", lambda *_, **__: pytest.fail("exported again"))
    folder = exported_tiny.parent.parent
    result = exported(tiny, folder)
    assert result.content_digest == read_export(exported_tiny).content_digest
    with pytest.raises(pytest.fail.Exception):
        exported(tiny, folder, parity=ParityConfig(images=7))


def test_an_export_that_answers_otherwise_is_refused_and_leaves_nothing(
    tiny, tmp_path, monkeypatch
):
    from kfdet.models import export as writer

    honest = writer.write_saved_model

    def tampering(detector, folder):
        kernel = next(weight for weight in detector.weights if "kernel" in weight.name)
        before = kernel.numpy()
        kernel.assign(before * 1.02)
        honest(detector, folder)
        kernel.assign(before)

    monkeypatch.setattr(writer, "write_saved_model", tampering)
    with pytest.raises(ParityError, match="differs from the checkpoint"):
        exported(tiny, tmp_path)
    assert list((tmp_path / "exports").iterdir()) == []
    assert not (tmp_path / "export.json").exists()
    assert "refused" in (tmp_path / "export.html").read_text()


def test_an_export_that_can_t_be_loaded_is_refused_and_leaves_nothing(tiny, tmp_path, monkeypatch):
    from kfdet.models import export as writer

    honest = writer.write_saved_model

    def damaging(detector, folder):
        honest(detector, folder)
        (folder / "variables" / "variables.index").unlink()

    monkeypatch.setattr(writer, "write_saved_model", damaging)
    with pytest.raises(ParityError, match="can't be loaded"):
        exported(tiny, tmp_path)
    assert list((tmp_path / "exports").iterdir()) == []


def test_a_file_that_changed_after_the_export_is_named(exported_tiny, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(exported_tiny, copy)
    with open(copy / "label_map.pbtxt", "a") as stream:
        stream.write(" ")
    with pytest.raises(ArtifactError, match=r"label_map\.pbtxt"):
        read_export(copy)


def test_an_export_can_be_evaluated_in_place_of_its_checkpoint(exported_tiny, tiny, tmp_path):
    ref = tiny.summary.checkpoints[-1]
    shared = {
        "experiment": tiny.experiment_file, "manifest": tiny.manifest_file, "split": "test",
        "shard": 0, "num_shards": 3, "batch_size": 4, "progress": QUIET,
    }  # fmt: skip
    digest = read_export(exported_tiny).content_digest
    evaluate.run(
        **shared, checkpoint=str(exported_tiny), checkpoint_digest=digest, out=tmp_path / "export"
    )
    evaluate.run(
        **shared, checkpoint=ref.uri, checkpoint_digest=ref.digest, out=tmp_path / "checkpoint"
    )
    one, other = (read_shard(tmp_path / name)[1] for name in ("export", "checkpoint"))
    assert np.allclose(one.detections.score, other.detections.score, atol=1e-5)
    assert np.allclose(one.detections.boxes_xyxy_px, other.detections.boxes_xyxy_px, atol=1e-2)
    with pytest.raises(ArtifactError):
        evaluate.run(
            **shared, checkpoint=str(exported_tiny), checkpoint_digest="0" * 64, out=tmp_path / "x"
        )


def test_a_batch_of_images_of_different_sizes_is_answered(exported_tiny, tiny):
    import io

    from PIL import Image

    from kfdet.models.saved_model import SavedModelDetector

    detector = SavedModelDetector(exported_tiny / "saved_model")
    encoded = next(read_split(tiny.manifest.test)).record.encoded
    stream = io.BytesIO()
    Image.open(io.BytesIO(encoded)).resize((200, 100)).save(stream, "PNG")
    one, other = detector([encoded, stream.getvalue()])
    assert len(one)
    assert len(other)
    assert other.boxes_yxyx_px[:, 2].max() <= 100
