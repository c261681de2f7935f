"""The tests of a folder that TensorFlow is needed for share one trained model."""

import pytest
from detector_cases import copy_of_trained, trained


@pytest.fixture(scope="session")
def tiny():
    """A trained detector that no test may change."""
    return trained()


@pytest.fixture
def damageable(tmp_path):
    """A copy of the trained detector whose training is not marked as finished."""
    return copy_of_trained(tmp_path)
