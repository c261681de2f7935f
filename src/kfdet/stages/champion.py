"""champion: whether the champion must be measured again, on the images that the candidate is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kfdet.progress import Progress
from kfdet.schema.dataset import Manifest, Split
from kfdet.schema.gate_policy import GatePolicy
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
    manifest: Path,
    selected: Path,
    progress: Progress,
) -> ChampionResult:
    """Looks whether the registry's champion was measured on the images of this run.

    It is asked to be evaluated again only where the policy compares with it, it knows the same
    classes, and no measurement on these very images lies in the registry yet.

    Args:
        policy: What the gate will ask for.
        registry: Folder of the model registry.
        model: Name of the model in it.
        split: The split that the gate looks at.
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
    digest = data.split(split).digest
    answer: Answer = "keep"
    if not any(rule.champion for rule in policy.rules):
        note = "the policy does not compare with it"
    elif published.measured_on(found, split_digest=digest) is not None:
        note = f"it was measured on this {split} set"
    elif export.label_map != data.label_map:
        note = "it knows other classes, so that the gate can't compare with it"
    else:
        note, answer = f"it was measured on another {split} set: it is evaluated again", "evaluate"
    progress.note(f"the champion is version {found.version}; {note}")
    return ChampionResult(answer=answer, version=found.version)


_NOTHING = CheckpointRef(step=0, uri="", digest="0" * 64)
