import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.experiment import (
    OWNED_KEYS,
    anchor_shapes_px,
    learning_rate,
    leaves,
    merged,
    resolve,
)
from kfdet.errors import ConfigError
from kfdet.schema.dataset import (
    ClassLabel,
    LabelMap,
    Manifest,
    ShardFile,
    SplitManifest,
)
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.training_config import TrainingConfig

DETECTOR = DetectorConfig(input_size=(128, 128))
TRAINING = TrainingConfig(steps=200, batch_size=8, checkpoint_every=50)


def manifest(*, images=100, size_bytes=500_000, uri="a.tfrecord"):
    shard = ShardFile(uri=uri, records=images, size_bytes=size_bytes, sha256="0" * 64)
    split = SplitManifest(shards=(shard,), images=images, boxes=300, digest="1" * 64)
    labels = LabelMap(classes=(ClassLabel(id=1, name="cat"), ClassLabel(id=4, name="dog")))
    return Manifest(label_map=labels, train=split, val=split, test=split)


def setting(experiment, path):
    return dict(leaves(experiment.params))[path]


def rendered(detector=DETECTOR, training=TRAINING, **data):
    return resolve(detector, training, manifest(**data))


def test_classes_are_counted_up_to_the_highest_id_with_the_background():
    assert setting(rendered(), "task.model.num_classes") == 5


def test_the_cosine_begins_where_the_warm_up_ends():
    experiment = rendered()
    prefix = "trainer.optimizer_config.learning_rate.cosine"
    assert setting(experiment, f"{prefix}.offset") == 50
    assert setting(experiment, f"{prefix}.decay_steps") == 150


def test_no_warm_up_is_rendered_as_none_so_that_the_experiment_s_own_is_gone():
    quick = TRAINING.model_copy(
        update={"learning_rate": TRAINING.learning_rate.model_copy(update={"warmup_steps": 0})}
    )
    assert setting(rendered(training=quick), "trainer.optimizer_config.warmup.type") is None


def test_weight_decay_is_decoupled_for_adamw_and_l2_for_sgd():
    adamw = rendered()
    sgd = rendered(
        training=TRAINING.model_copy(
            update={"optimizer": TRAINING.optimizer.model_copy(update={"type": "sgd"})}
        )
    )
    assert setting(adamw, "trainer.optimizer_config.optimizer.adamw.weight_decay_rate") == 0.0001
    assert setting(adamw, "task.losses.l2_weight_decay") == 0.0
    assert setting(sgd, "task.losses.l2_weight_decay") == 0.0001


def test_the_digest_does_not_depend_on_where_the_data_lie():
    assert rendered().fingerprint() == rendered(uri="/elsewhere/a.tfrecord").fingerprint()


def test_every_change_of_the_configuration_changes_the_digest():
    other = DETECTOR.model_copy(update={"max_instances": 50})
    assert rendered().fingerprint() != rendered(other).fingerprint()


def test_the_shuffle_buffer_is_bounded_in_bytes():
    large = rendered(images=1000, size_bytes=1000 * 2**20)
    assert setting(large, "task.train_data.shuffle_buffer_size") == 256
    assert setting(rendered(), "task.train_data.shuffle_buffer_size") == 100


def test_batch_norm_forgets_the_first_steps_of_a_short_training():
    path = "task.model.norm_activation.norm_momentum"
    short = TRAINING.model_copy(update={"steps": 60, "checkpoint_every": 20})
    assert setting(rendered(training=short), path) == pytest.approx(5 / 6, abs=1e-3)
    assert setting(rendered(training=TRAINING.model_copy(update={"steps": 9000})), path) == 0.99


def test_overrides_lie_on_top():
    over = {"task": {"model": {"norm_activation": {"norm_momentum": 0.8}}}}
    experiment = rendered(training=TRAINING.model_copy(update={"overrides": over}))
    assert setting(experiment, "task.model.norm_activation.norm_momentum") == 0.8
    assert setting(experiment, "task.model.min_level") == 3


@pytest.mark.parametrize("key", sorted(OWNED_KEYS))
def test_an_override_of_what_a_field_says_is_refused_and_names_the_field(key):
    nested = 1
    for part in reversed(key.split(".")):
        nested = {part: nested}
    with pytest.raises(ConfigError, match="set it there") as caught:
        rendered(training=TRAINING.model_copy(update={"overrides": nested}))
    assert OWNED_KEYS[key] in str(caught.value)


def test_an_override_that_would_do_nothing_is_refused():
    over = {"trainer": {"validation_interval": 10, "max_to_keep": 3}}
    with pytest.raises(ConfigError, match="max_to_keep") as caught:
        rendered(training=TRAINING.model_copy(update={"overrides": over}))
    assert "validation_interval" in str(caught.value)


@given(st.integers(0, 200))
def test_the_learning_rate_stays_between_zero_and_the_peak(step):
    assert 0 <= learning_rate(TRAINING, step) <= TRAINING.learning_rate.peak


def test_the_learning_rate_is_the_start_then_the_peak_then_zero():
    rates = [learning_rate(TRAINING, step) for step in (0, 50, 200)]
    assert rates == pytest.approx([0.0001, 0.003, 0.0])


def test_anchors_are_as_wide_as_their_ratio_says():
    wide = DETECTOR.model_copy(
        update={"anchors": DETECTOR.anchors.model_copy(update={"aspect_ratios": (2.0,)})}
    )
    shapes = anchor_shapes_px(wide)
    assert np.allclose(shapes[:, 0] / shapes[:, 1], 2.0)
    assert math.sqrt(shapes[0].prod()) == pytest.approx(4.0 * 8)


@given(
    st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xy"), st.integers()))
)
def test_merging_with_itself_or_nothing_changes_nothing(settings):
    assert merged(settings, settings) == settings
    assert merged(settings, {}) == settings
    assert merged({}, settings) == settings
