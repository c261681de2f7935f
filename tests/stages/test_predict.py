import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from kfdet.errors import ArtifactError
from kfdet.stages.predict import inference_as_raw_output, inference_with_plot, load
from kfdet.storage.splits import read_split

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.fixture(scope="module")
def model(exported_tiny):
    return load(exported_tiny)


@pytest.fixture(scope="module")
def encoded(tiny):
    return next(read_split(tiny.manifest.test)).record.encoded


def test_an_export_whose_bytes_have_changed_is_refused(exported_tiny, tmp_path):
    shutil.copytree(exported_tiny, tmp_path / "export")
    with (tmp_path / "export/saved_model/saved_model.pb").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ArtifactError, match=r"saved_model.pb: its digest is"):
        load(tmp_path / "export")


def test_raw_output_has_boxes_classes_scores_and_names(model, encoded):
    raw = inference_as_raw_output(model, encoded)
    count = len(raw["detection_scores"])
    assert count > 0
    assert raw["detection_boxes"].shape == (count, 4)
    assert raw["detection_boxes"].dtype == np.float32
    y1, x1, y2, x2 = raw["detection_boxes"].T
    assert (y1 <= y2).all()
    assert (x1 <= x2).all()
    assert raw["detection_boxes"].max() > 1
    assert set(raw["detection_class_names"]) <= {"circle", "square", "triangle"}
    assert (np.diff(raw["detection_scores"]) <= 0).all()


def test_every_form_of_an_image_gives_the_same_answer(model, encoded, tmp_path):
    import tensorflow as tf

    path = tmp_path / "image.jpg"
    path.write_bytes(encoded)
    pixels = tf.io.decode_jpeg(encoded, channels=3).numpy()
    forms = [encoded, path, str(path), pixels, Image.fromarray(pixels)]
    answers = [inference_as_raw_output(model, form) for form in forms]
    for answer in answers[1:]:
        assert np.array_equal(answer["detection_boxes"], answers[0]["detection_boxes"])
        assert np.array_equal(answer["detection_scores"], answers[0]["detection_scores"])


def test_the_answer_is_that_of_the_checkpoint(model, encoded, tiny):
    from kfdet.models.detector import Detector

    detector = Detector(tiny.experiment)
    detector.restore(tiny.model_dir.prefix(60))
    (expected,) = detector([encoded])
    raw = inference_as_raw_output(model, encoded)
    assert np.allclose(raw["detection_scores"], expected.scores, atol=1e-5)
    assert np.allclose(raw["detection_boxes"], expected.boxes_yxyx_px, atol=1e-2)


def test_a_threshold_leaves_the_weaker_out(model, encoded):
    every = inference_as_raw_output(model, encoded)["detection_scores"]
    limit = float(np.median(every))
    some = inference_as_raw_output(model, encoded, score_threshold=limit)["detection_scores"]
    assert len(some) == int((every >= np.float32(limit)).sum())
    assert (
        len(inference_as_raw_output(model, encoded, score_threshold=1.0)["detection_scores"]) == 0
    )


def test_the_plot_has_the_size_of_the_image_and_is_written(model, encoded, tmp_path):
    out = tmp_path / "found.png"
    drawn = inference_with_plot(model, encoded, out=out, score_threshold=0.0)
    assert drawn.size == Image.open(io.BytesIO(encoded)).size
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(drawn))
    plain = inference_with_plot(model, encoded, score_threshold=1.0)
    assert not np.array_equal(np.asarray(plain), np.asarray(drawn))


def test_an_image_is_turned_upright_as_its_exif_data_say(model, encoded):
    upright = Image.open(io.BytesIO(encoded)).resize((128, 96))
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    upright.rotate(90, expand=True).save(stream, "JPEG", quality=95, exif=exif)
    assert inference_with_plot(model, stream.getvalue()).size == (128, 96)


def test_a_format_that_tensorflow_lacks_is_read_all_the_same(model, encoded):
    stream = io.BytesIO()
    Image.open(io.BytesIO(encoded)).save(stream, "WEBP")
    assert len(inference_as_raw_output(model, stream.getvalue())["detection_scores"])


def test_a_folder_that_is_no_export_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"export\.json"):
        load(tmp_path)


def test_raw_output_fits_into_json_once_it_is_lists(model, encoded):
    raw = inference_as_raw_output(model, encoded)
    plain = {name: np.asarray(values).tolist() for name, values in raw.items()}
    assert json.loads(json.dumps(plain))["detection_classes"] == plain["detection_classes"]
