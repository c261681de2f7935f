"""What the environment must say before TensorFlow is imported."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

LOADED = """
import sys
import kfdet.models.detector
print("keras" in sys.modules, "tf_keras" in sys.modules)
"""


@pytest.mark.parametrize(("given", "loaded"), [(None, "False True"), ("0", "True True")])
def test_keras_3_is_loaded_only_where_the_environment_asks_for_it(given, loaded):
    name = "TF_USE_LEGACY_KERAS"
    kept = {key: value for key, value in os.environ.items() if key != name}
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        capture_output=True,
        text=True,
        timeout=300,
        env={**kept, name: given} if given else kept,
    )
    assert done.stdout.split("\n")[-2] == loaded, done.stderr
