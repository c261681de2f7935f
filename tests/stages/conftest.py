"""The tests of stages that need TensorFlow share one trained model and its export."""

from pathlib import Path

import pytest
from detector_cases import QUIET, trained

from kfdet.schema.run_config import ParityConfig


@pytest.fixture(scope="session")
def tiny():
    """A trained detector that no test may change."""
    return trained()


@pytest.fixture(scope="session")
def exported_tiny(tiny, tmp_path_factory):
    """Folder of its export; no test may change it."""
    from kfdet.stages import export

    folder = tmp_path_factory.mktemp("exported")
    ref = tiny.summary.checkpoints[-1]
    result = export.run(
        experiment=tiny.experiment_file,
        manifest=tiny.manifest_file,
        checkpoint=ref.uri,
        checkpoint_digest=ref.digest,
        checkpoint_step=ref.step,
        parity=ParityConfig(images=6),
        export_root=str(folder / "exports"),
        export_manifest=folder / "export.json",
        report=folder / "export.html",
        progress=QUIET,
    )
    return Path(result.export_uri)
