import numpy as np
import pytest
import yaml
from detector_cases import DETECTOR, TRAINING, data_folder

from kfdet.core.experiment import anchor_shapes_px, learning_rate, resolve
from kfdet.errors import ConfigError
from kfdet.schema.dataset import Manifest
from kfdet.storage.documents import read_document

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


def experiment(overrides=None, detector=DETECTOR, **training):
    settings = TRAINING.model_copy(update={"overrides": overrides or {}, **training})
    return resolve(detector, settings, read_document(Manifest, data_folder() / "manifest.json"))


def nested(path, value):
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("task.model.norm_activaton", {}, 'Did you mean "norm_activation"?'),
        ("task.model.norm_activation.norm_momentum", "high", "expected a number"),
        ("task.train_data.cycle_length", "ten", "expected an integer or null"),
        ("task.train_data.cycle_length", True, "expected an integer or null"),
        ("task.model.backbone.type", "resnett", 'Did you mean "resnet"?'),
        ("task.model.norm_activation.use_sync_bn", 1, "expected true or false"),
        ("task.losses", 5, "expected a group of keys"),
        ("task.train_data.parser.aug_type", {"typ": "randaug"}, "expected a group of keys or null"),
    ],
)
def test_an_override_that_model_garden_does_not_take_is_explained(path, value, said):
    from kfdet.models.experiment import build_config

    with pytest.raises(ConfigError) as caught:
        build_config(experiment(nested(path, value)))
    assert path in str(caught.value)
    assert said in str(caught.value)


def test_all_faults_are_named_at_once():
    from kfdet.models.experiment import build_config

    over = {"task": {"modell": 1, "losses": {"loss_weight": "heavy"}}}
    with pytest.raises(ConfigError, match="2 faults") as caught:
        build_config(experiment(over))
    assert "task.modell" in str(caught.value)
    assert "task.losses.loss_weight" in str(caught.value)


def test_a_good_override_arrives():
    from kfdet.models.experiment import build_config

    over = nested(
        "task.train_data.parser.aug_type", {"type": "randaug", "randaug": {"magnitude": 5.0}}
    )
    config = build_config(experiment(over))
    assert config.task.train_data.parser.aug_type.randaug.magnitude == 5.0


@pytest.mark.parametrize(
    "name",
    [
        "retinanet",
        "retinanet_resnetfpn_coco",
        "retinanet_mobile_coco",
        "retinanet_spinenet_coco",
    ],
)
def test_every_experiment_renders_and_is_free_of_its_own_paths(name):
    from kfdet.models.experiment import build_config, to_yaml

    update = {"experiment": name, "input_size": (128, 128), "max_level": 7}
    full = to_yaml(build_config(experiment(detector=DETECTOR.model_copy(update=update))))
    settings = yaml.safe_load(full)
    assert settings["task"]["init_checkpoint"] is None
    assert settings["task"]["annotation_file"] is None
    assert "gs://" not in full


@pytest.mark.parametrize("warmup_steps", [0, 10])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_our_learning_rate_is_that_of_model_garden(schedule, warmup_steps):
    from official.modeling.optimization import OptimizerFactory

    from kfdet.models.experiment import build_config

    rate = TRAINING.learning_rate.model_copy(
        update={"schedule": schedule, "warmup_steps": warmup_steps}
    )
    resolved = experiment(learning_rate=rate)
    theirs = OptimizerFactory(build_config(resolved).trainer.optimizer_config).build_learning_rate()
    steps = [0, 1, 9, 10, 11, 35, 60]
    expected = [float(theirs(step)) if callable(theirs) else theirs for step in steps]
    ours = [learning_rate(resolved.training, step) for step in steps]
    assert ours == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_our_anchors_are_those_of_model_garden():
    from official.vision.ops import anchor

    theirs = anchor.build_anchor_generator(
        min_level=DETECTOR.min_level,
        max_level=DETECTOR.max_level,
        num_scales=DETECTOR.anchors.num_scales,
        aspect_ratios=list(DETECTOR.anchors.aspect_ratios),
        anchor_size=DETECTOR.anchors.size,
    )(image_size=(64, 64))
    sizes = []
    for level in range(DETECTOR.min_level, DETECTOR.max_level + 1):
        first = theirs[str(level)].numpy()[0, 0].reshape(-1, 4)
        sizes += [(box[3] - box[1], box[2] - box[0]) for box in first]
    assert np.allclose(anchor_shapes_px(DETECTOR), sizes, atol=1e-4)
