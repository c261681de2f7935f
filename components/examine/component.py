"""Examines the records of one group of shards."""

from kfp.dsl import Artifact, Metrics, Output

from components._component import light_component


@light_component
def examine(
    group: int,
    num_groups: int,
    dataset: str,
    data_digest: str,
    examined: Output[Artifact],
    metrics: Output[Metrics],
):
    """Checks every record of group k of n; what is wrong is for `validate` to judge.

    Args:
        group: k, from zero.
        num_groups: n; group k takes the files [k::n] of all the splits together.
        dataset: The section `dataset` of the run configuration, as JSON.
        data_digest: Digest of the data's bytes; a run with other bytes is a run of its own.
        examined: Folder with findings, sums and what tells images apart.
        metrics: Shards, images, boxes and faults.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.run_config import DatasetConfig
    from kfdet.stages import examine as stage
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("examine", part=f"group {group + 1}/{num_groups}") as progress:
        result = stage.run(
            dataset=parse_json(DatasetConfig, dataset, where="dataset"),
            group=group,
            num_groups=num_groups,
            data_digest=data_digest,
            out=Path(examined.path),
            progress=progress,
        )
        write_scalars(
            metrics,
            shards=result.shards,
            images=result.images,
            boxes=result.boxes,
            faults=result.faults,
        )
