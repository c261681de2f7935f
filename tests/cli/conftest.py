"""A server of the v2beta1 API, for the tests of the verbs that talk to one."""

import pytest
import yaml
from cluster_cases import configuration
from kfp_api.double import started


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "run.yaml").write_text(yaml.safe_dump(configuration()))
    with started(folder) as double:
        yield double


@pytest.fixture
def double(server):
    server.control("reset")
    return server
