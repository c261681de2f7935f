"""champion: whether the champion must be measured again, on the images and as the candidate is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kfdet.progress import Progress
from kfdet.schema.dataset import Manifest, Split
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.training import CheckpointRef, SelectedCheckpoint
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.registry import ModelRegistry

Answer = Literal["keep", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class ChampionResult:
    """Attributes:
    answer: `evaluate` asks for the champion's export to be evaluated on the split.
    version: The champion's; None when there is none.
    """

    answer: Answer
    version: int | None


def run(
    *,
    policy: GatePolicy,
    registry: str,
    model: str,
    split: Split,
    config: MeasurementConfig,
    manifest: Path,
    selected: Path,
    progress: Progress,
) -> ChampionResult:
    """Looks whether the registry's champion was measured on the images of this run, and as this run does.

    It is asked to be evaluated again only where the policy compares with it, it knows the same
    classes, and no measurement on these very images by these settings lies in the registry yet.

    Args:
        policy: What the gate will ask for.
        registry: Folder of the model registry.
        model: Name of the model in it.
        split: The split that the gate looks at.
        config: What is measured.
        manifest: Of the validated data.
        selected: Where the champion's export is named, in the form of a checkpoint.
        progress: Told the answer.

    Raises:
        ArtifactError: The registry is damaged.
    """
    data = read_document(Manifest, manifest)
    published = ModelRegistry(registry, model=model)
    found = published.champion()
    if found is None:
        write_document(selected, SelectedCheckpoint(checkpoint=_NOTHING))
        progress.note("there is no champion yet")
        return ChampionResult(answer="keep", version=None)
    place, export = published.export(found)
    reference = CheckpointRef(step=export.checkpoint_step, uri=place, digest=export.content_digest)
    write_document(selected, SelectedCheckpoint(checkpoint=reference))
    digest, settings = data.split(split).digest, config.settings()
    answer: Answer = "keep"
    if not any(rule.champion for rule in policy.rules):
        note = "the policy does not compare with it"
    elif published.measured_on(found, split_digest=digest, settings=settings) is not None:
        note = f"it was measured on this {split} set"
    elif export.label_map != data.label_map:
        note = "it knows other classes, so that the gate can't compare with it"
    else:
        same = found.metrics.split_digest == digest
        way = "by other settings of evaluation" if same else f"on another {split} set"
        note, answer = f"it was measured {way}: it is evaluated again", "evaluate"
    progress.note(f"the champion is version {found.version}; {note}")
    return ChampionResult(answer=answer, version=found.version)


_NOTHING = CheckpointRef(step=0, uri="", digest="0" * 64)
