"""A full disk is not called a lack of memory."""

import pytest

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


def test_a_full_disk_is_told_as_what_it_is():
    import tensorflow as tf

    from kfdet.errors import StorageError
    from kfdet.models.disk import explain_full_disk

    with (
        pytest.raises(StorageError, match="model: can't write: No space left on device. Free some"),
        explain_full_disk("model"),
        tf.io.gfile.GFile("/dev/full", "w") as stream,
    ):
        stream.write("x" * 1_000_000)
        stream.flush()


def test_a_lack_of_memory_is_left_to_others():
    import tensorflow as tf

    from kfdet.models.disk import explain_full_disk

    with pytest.raises(tf.errors.ResourceExhaustedError), explain_full_disk("model"):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
