import numpy as np
import pytest
from detector_cases import TRAINING, data_folder, rendered

from kfdet.schema.training_config import AugmentationConfig
from kfdet.storage.splits import read_split

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    from kfdet.models.experiment import build_config

    case = rendered(tmp_path_factory.mktemp("task"))
    return build_config(case.experiment)


@pytest.fixture(scope="module")
def examples(config):
    """Decoded training records, as both parsers take them."""
    from official.vision.dataloaders.tf_example_decoder import TfExampleDecoder

    from kfdet.schema.dataset import Manifest
    from kfdet.storage.documents import read_document

    split = read_document(Manifest, data_folder() / "manifest.json").train
    payloads = [placed.payload for placed, _ in zip(read_split(split), range(8), strict=False)]
    return [TfExampleDecoder().decode(payload) for payload in payloads]


def parser(config, **augmentation):
    from kfdet.models.task import TrainingParser

    off = {"horizontal_flip": False}
    return TrainingParser(AugmentationConfig(**{**off, **augmentation}), **settings(config))


def settings(config):
    model = config.task.model
    return {
        "output_size": model.input_size[:2],
        "min_level": model.min_level,
        "max_level": model.max_level,
        "num_scales": model.anchor.num_scales,
        "aspect_ratios": model.anchor.aspect_ratios,
        "anchor_size": model.anchor.anchor_size,
        "dtype": "float32",
    }


def test_the_batches_are_those_of_model_garden(config, examples):
    """Without augmentation the same images and targets, up to rounding in the resize."""
    from official.vision.dataloaders import retinanet_input

    theirs = retinanet_input.Parser(**settings(config)).parse_fn(is_training=True)
    ours = parser(config).parse_fn(is_training=True)
    for example in examples:
        image, labels = ours(example)
        expected_image, expected = theirs(example)
        assert np.allclose(image, expected_image, atol=1e-4)
        for name in ("cls_weights", "box_weights"):
            assert np.array_equal(labels[name], expected[name])
        for name in ("cls_targets", "box_targets"):
            for level in expected[name]:
                assert np.allclose(labels[name][level], expected[name][level], atol=1e-5)


def test_a_training_image_is_what_inference_sees(config, examples, tmp_path):
    from kfdet.models.detector import Detector

    detector = Detector(rendered(tmp_path).experiment)
    for example in examples[:2]:
        image, _ = parser(config)._parse_train_data(example)
        seen, _ = detector._preprocess(example["image"])
        assert np.allclose(image, seen, atol=1e-4)


@pytest.mark.parametrize("direction", ["horizontal_flip", "vertical_flip"])
def test_boxes_are_flipped_with_their_image(config, direction):
    """A bright rectangle on black: wherever it goes, its box goes, too."""
    import tensorflow as tf

    from kfdet.models.task import _flipped

    pixels = np.zeros((40, 60, 3), np.float32)
    pixels[5:15, 10:30] = 1
    box = tf.constant([[5.0, 10.0, 15.0, 30.0]])
    off = {"horizontal_flip": False, direction: True}
    positions = set()
    for _ in range(20):
        image, boxes = _flipped(tf.constant(pixels), box, AugmentationConfig(**off))
        top, left, bottom, right = boxes.numpy()[0].astype(int)
        assert image.numpy()[top:bottom, left:right].min() == 1
        assert image.numpy().sum() == pixels.sum()
        positions.add((top, left))
    assert len(positions) == 2


def test_colours_vary_within_their_range_and_nothing_else_does(config):
    import tensorflow as tf

    from kfdet.models.task import _coloured

    image = tf.constant(np.random.default_rng(0).uniform(0.3, 0.7, (8, 8, 3)).astype(np.float32))
    assert _coloured(image, 0.0) is image
    changed = [_coloured(image, 0.2).numpy() for _ in range(10)]
    assert not np.allclose(changed[0], changed[1])
    assert min(c.min() for c in changed) >= 0
    assert max(c.max() for c in changed) <= 1
    assert max(abs(c.mean() - 0.5) for c in changed) < 0.5 * 0.25


def test_no_more_boxes_are_kept_than_configured(config, examples):
    import tensorflow as tf

    limited = parser(config)
    limited._max_num_instances = 1
    crowded = next(e for e in examples if len(e["groundtruth_classes"]) > 1)
    boxes, classes = limited._objects(crowded)
    assert len(classes) == 1
    assert tf.reduce_all(boxes == crowded["groundtruth_boxes"][:1])


def test_crowds_are_not_trained_on(config, examples):
    import tensorflow as tf

    example = dict(examples[0])
    count = len(example["groundtruth_classes"])
    example["groundtruth_is_crowd"] = tf.constant([True] + [False] * (count - 1))
    _, classes = parser(config)._objects(example)
    assert len(classes) == count - 1
    example["groundtruth_is_crowd"] = tf.constant([True] * count)
    _, labels = parser(config)._parse_train_data(example)
    assert float(tf.reduce_sum(labels["box_weights"])) == 0


def test_the_augmentation_of_the_configuration_arrives(tmp_path):
    training = TRAINING.model_copy(
        update={"augmentation": AugmentationConfig(scale_min=0.5, scale_max=1.5)}
    )
    from kfdet.models.experiment import build_config

    data = build_config(rendered(tmp_path, training).experiment).task.train_data.parser
    assert (data.aug_scale_min, data.aug_scale_max) == (0.5, 1.5)
