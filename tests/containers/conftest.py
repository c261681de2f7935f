"""One Docker engine and one build of the images for all the tests of containers."""

import os

import pytest

from scripts import containers
from tests.containers.unknown_user import GID


def pytest_collection_modifyitems(config, items):
    if "containers" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="builds images for minutes: make test-containers")
    for item in items:
        if item.get_closest_marker("containers"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def engine():
    reason = containers.why_not()
    if reason:
        pytest.skip(reason)
    with containers.engine() as engine:
        if engine.own:
            os.chown(engine.folder / "docker.sock", 0, GID)
        yield engine


@pytest.fixture(scope="session")
def images(engine):
    """The names of the images by target, built from this checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KFDET_IMAGE_REGISTRY", "localhost/kfdet-tests")
        base = containers.make_base(engine)
        names = {
            target: containers.build(engine, target, base=base)
            for target in ("light", "tensorflow")
        }
        yield names
        if not engine.own:
            engine.docker("image", "rm", "--force", *names.values(), base)
