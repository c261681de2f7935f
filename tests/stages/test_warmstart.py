"""What a training begins with, over the life of a model: nothing, the champion, or nothing to do."""

import pytest
from evaluation_cases import digest, label_map, manifest, metrics, split_manifest, write_export

from kfdet.core.experiment import resolve
from kfdet.core.gating import decide
from kfdet.errors import ArtifactError
from kfdet.progress import Progress
from kfdet.schema.detector_config import DetectorConfig, NmsConfig
from kfdet.schema.gate_policy import GatePolicy, GateRule
from kfdet.schema.training_config import TrainingConfig
from kfdet.stages import warmstart
from kfdet.storage.checkpoints import checkpoint_digest
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.model_dir import ModelDir
from kfdet.storage.registry import ModelRegistry, Submission

LABELS = label_map("circle", "square")
DETECTOR = DetectorConfig(input_size=(128, 128))
TRAINING = TrainingConfig(steps=300, batch_size=8, checkpoint_every=100)
POLICY = GatePolicy(rules=(GateRule(metric="ap", at_least=0.1),))


class World:
    """A registry, model directories and data that change."""

    def __init__(self, folder):
        self.folder = folder
        self.models = folder / "models"
        self.labels = LABELS
        self.data("first")

    def data(self, name):
        split = split_manifest([4], name="test")
        whole = manifest(split, self.labels)
        train = whole.train.model_copy(update={"digest": digest(name)})
        self.manifest = whole.model_copy(update={"train": train})
        write_document(self.folder / "manifest.json", self.manifest)

    def begin(self, *, training=TRAINING, detector=DETECTOR):
        return warmstart.run(
            detector=detector,
            training=training,
            model_root=str(self.models),
            registry=str(self.folder / "registry"),
            model="shapes",
            manifest=self.folder / "manifest.json",
            progress=Progress("warmstart", quiet=True),
        )

    def train_and_publish(self, training, *, step=250):
        """Leaves behind what a run that passes its gate does."""
        experiment = resolve(DETECTOR, training, self.manifest).fingerprint()
        folder = ModelDir.of(str(self.models), experiment_digest=experiment)
        folder.path.mkdir(parents=True)
        for suffix in (".index", ".data-00000-of-00001"):
            (folder.path / f"ckpt-{step}{suffix}").write_text(experiment + suffix)
        checkpoint = checkpoint_digest(folder.prefix(step))
        exported = self.folder / f"export-{experiment[:8]}"
        export = write_export(exported, checkpoint=checkpoint, content=experiment).model_copy(
            update={"experiment_digest": experiment, "label_map": self.labels}
        )
        write_document(exported / "export.json", export)
        measured = metrics(checkpoint=checkpoint)
        registry = ModelRegistry(self.folder / "registry", model="shapes")
        registry.publish(
            Submission(
                folder=exported,
                export=export,
                metrics=measured,
                decision=decide(measured, policy=POLICY, champion=registry.champion()),
                run="run",
                created="2026-01-01T00:00:00+00:00",
                model_card=str,
            )
        )
        return folder.prefix(step)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_without_a_champion_it_begins_as_configured(world):
    begun = world.begin()
    assert (begun.training, begun.version) == (TRAINING, None)


def test_with_new_data_it_begins_with_the_champion(world):
    checkpoint = world.train_and_publish(world.begin().training)
    world.data("second")
    begun = world.begin()
    assert begun.version == 1
    assert begun.training.init_checkpoint == checkpoint
    assert begun.training.init_modules == ("all",)


def test_while_nothing_changes_every_run_is_the_one_that_made_the_champion(world):
    """Over two generations: else each tick of a schedule would train on from the last one's model."""
    first = world.begin().training
    world.train_and_publish(first)
    assert world.begin().training == first
    world.data("second")
    second = world.begin().training
    world.train_and_publish(second)
    assert world.begin().training == second
    assert world.begin().training == second


def test_another_configuration_on_the_same_data_begins_with_the_champion(world):
    checkpoint = world.train_and_publish(world.begin().training)
    longer = TRAINING.model_copy(update={"steps": 600})
    assert world.begin(training=longer).training.init_checkpoint == checkpoint


def test_other_classes_take_no_head(world):
    world.train_and_publish(world.begin().training)
    world.labels = label_map("circle", "square", "star")
    world.data("second")
    assert world.begin().training.init_modules == ("backbone", "decoder")


def test_another_detector_begins_as_configured_and_another_threshold_does_not(world):
    world.train_and_publish(world.begin().training)
    world.data("second")
    assert world.begin(detector=DETECTOR.model_copy(update={"fpn_filters": 64})).version is None
    other = DETECTOR.model_copy(update={"nms": NmsConfig(max_detections=10)})
    assert world.begin(detector=other).version == 1


def test_a_champion_whose_checkpoint_is_gone_is_an_error(world):
    checkpoint = world.train_and_publish(world.begin().training)
    world.data("second")
    for file in world.models.rglob("ckpt-*"):
        file.unlink()
    with pytest.raises(ArtifactError) as failure:
        world.begin()
    assert checkpoint in str(failure.value)
    assert "cluster.start_from" in str(failure.value)


def test_what_it_says_is_a_section_of_the_configuration(world, tmp_path):
    world.train_and_publish(world.begin().training)
    world.data("second")
    begun = world.begin().training
    (tmp_path / "training.json").write_text(begun.canonical_json())
    assert read_document(TrainingConfig, tmp_path / "training.json") == begun
