"""The detector as a function of encoded images: from a checkpoint, the very graph that is exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from official.vision.ops import preprocess_ops

from kfdet.core.detected import Detected
from kfdet.errors import ArtifactError
from kfdet.models.devices import set_precision
from kfdet.models.experiment import build_config
from kfdet.models.pixels import normalise_and_pad
from kfdet.models.saved_model import unpack, use_exact_floats
from kfdet.models.task import DetectionTask
from kfdet.schema.training import ResolvedExperiment


class Detector:
    """One built model, into which checkpoints are restored one after another.

    Always float32, whatever the precision of training: its weights are kept in float32.
    """

    def __init__(self, experiment: ResolvedExperiment) -> None:
        set_precision("float32")
        use_exact_floats()
        config = build_config(experiment)
        self._model = DetectionTask(config.task).build_model()
        height, width = experiment.detector.input_size
        self._input_size = [height, width]
        self._padded_size = preprocess_ops.compute_padded_size(
            self._input_size, 2**experiment.detector.max_level
        )
        self._keep_aspect_ratio = experiment.detector.keep_aspect_ratio
        batch = tf.TensorSpec([None, None, None, 3], tf.uint8, name="inputs")
        strings = tf.TensorSpec([None], tf.string, name="inputs")
        self._from_tensor = _compiled(self._detect_tensor, batch)
        self._from_bytes = _compiled(self._detect_bytes, strings)
        self._from_examples = _compiled(self._detect_examples, strings)

    @property
    def weights(self) -> list[Any]:
        """The variables that a checkpoint fills and an export holds."""
        return list(self._model.variables)

    def restore(self, prefix: str) -> None:
        """Fills the model with a checkpoint's weights.

        Raises:
            ArtifactError: The checkpoint can't be read or is of another model.
        """
        try:
            status = tf.train.Checkpoint(model=self._model).read(prefix)
            status.assert_existing_objects_matched().expect_partial()
        except (tf.errors.OpError, AssertionError, ValueError) as failure:
            reason = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
            raise ArtifactError(
                f"the checkpoint can't be restored: {reason}",
                where=prefix,
                expected="a whole checkpoint of this experiment",
            ) from failure

    def __call__(self, encoded: Sequence[bytes]) -> list[Detected]:
        """Detects objects in encoded images of any sizes.

        Args:
            encoded: JPEG, PNG or BMP files.

        Raises:
            ValueError: One of them can't be decoded.
        """
        try:
            outputs = self._from_bytes(tf.constant(list(encoded), tf.string))
        except tf.errors.InvalidArgumentError as failure:
            raise ValueError(failure.message) from failure
        return unpack(outputs)

    def signatures(self) -> dict[str, Any]:
        """Returns signature name to concrete function, for the export."""
        return {
            "serving_default": self._from_tensor.get_concrete_function(),
            "image_bytes": self._from_bytes.get_concrete_function(),
            "tf_example": self._from_examples.get_concrete_function(),
        }

    def _preprocess(self, image: Any) -> tuple[Any, Any]:
        """Resizes and normalises one image as training does.

        Args:
            image: uint8 [H, W, 3].

        Returns:
            float32 [h, w, 3] and image_info, float32 [4, 2]: sizes, scale and offset as
            [y, x] rows.
        """
        resized, image_info = preprocess_ops.resize_and_crop_image(
            image,
            self._input_size,
            padded_size=None,
            keep_aspect_ratio=self._keep_aspect_ratio,
        )
        return normalise_and_pad(resized / 255.0, size=self._padded_size), image_info

    def _preprocess_all(self, elements: Any, decode: Any) -> tuple[Any, Any]:
        size = [*self._padded_size, 3]
        spec = (tf.TensorSpec(size, tf.float32), tf.TensorSpec([4, 2], tf.float32))
        with tf.device("CPU:0"):
            images, image_info = tf.map_fn(
                lambda element: self._preprocess(decode(element)),
                elements,
                fn_output_signature=spec,
                parallel_iterations=16,
            )
        return images, image_info

    def _detect_tensor(self, inputs: Any) -> dict[str, Any]:
        return self._detect(*self._preprocess_all(inputs, lambda image: image))

    def _detect_bytes(self, inputs: Any) -> dict[str, Any]:
        return self._detect(*self._preprocess_all(inputs, _decode))

    def _detect_examples(self, inputs: Any) -> dict[str, Any]:
        return self._detect(*self._preprocess_all(inputs, _decode_example))

    def _detect(self, images: Any, image_info: Any) -> dict[str, Any]:
        """Runs the model and puts its boxes into pixels of the images given.

        Args:
            images: float32 [B, h, w, 3].
            image_info: float32 [B, 4, 2].
        """
        outputs = self._model.call(images, image_shape=image_info[:, 1, :], training=False)
        scale = tf.tile(image_info[:, 2:3, :], [1, 1, 2])
        border = tf.tile(image_info[:, 0:1, :], [1, 1, 2])
        boxes = outputs["detection_boxes"] / scale
        return {
            "detection_boxes": tf.clip_by_value(boxes, 0.0, border),
            "detection_scores": outputs["detection_scores"],
            "detection_classes": tf.cast(outputs["detection_classes"], tf.int32),
            "num_detections": tf.cast(outputs["num_detections"], tf.int32),
        }


def _compiled(function: Any, inputs: Any) -> Any:
    # Nothing here branches on a tensor in Python, and AutoGraph takes a second to find that out.
    return tf.function(function, input_signature=[inputs], autograph=False)


def _decode(encoded: Any) -> Any:
    """Decodes as training does; the first frame of an animation."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def _decode_example(serialised: Any) -> Any:
    parsed = tf.io.parse_single_example(
        serialised, {"image/encoded": tf.io.FixedLenFeature((), tf.string)}
    )
    return _decode(parsed["image/encoded"])
