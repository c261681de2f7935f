"""Names the data of a run by its bytes, where they lie."""

from typing import NamedTuple

from components._component import light_component


@light_component
def fingerprint(dataset: str) -> NamedTuple("Outputs", [("data_digest", str)]):
    """Reads every byte of a data set; equal digests let the later tasks come from the cache.

    Args:
        dataset: The section `dataset` of the run configuration, as JSON.

    Returns:
        data_digest: Digest of the data's bytes.
    """
    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.run_config import DatasetConfig
    from kfdet.stages import fingerprint as stage

    with Progress.from_environment("fingerprint") as progress:
        result = stage.run(
            dataset=parse_json(DatasetConfig, dataset, where="dataset"),
            progress=progress,
        )
    return (result.data_digest,)
