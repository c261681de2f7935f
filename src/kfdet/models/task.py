"""Model Garden's RetinaNet task with an input pipeline that does less work for the same batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from official.core import input_reader
from official.vision.dataloaders import retinanet_input, tf_example_decoder
from official.vision.ops import anchor, box_ops, preprocess_ops
from official.vision.tasks.retinanet import RetinaNetTask

from kfdet.core.training_file import TrainingFile
from kfdet.models.pixels import normalise_and_pad
from kfdet.schema.dataset import Compression
from kfdet.schema.training_config import AugmentationConfig

_COMPRESSION_TYPES: Mapping[Compression, str] = {"none": "", "gzip": "GZIP", "zlib": "ZLIB"}
_BLOCK_RECORDS = 16


class DetectionTask(RetinaNetTask):  # type: ignore[misc]
    """Attributes:
    augmentation: What Model Garden's parser does not know; nothing of it when None.
    files: Shards of the training split.
    """

    augmentation: AugmentationConfig | None = None
    files: tuple[TrainingFile, ...] = ()

    def build_inputs(self, params: Any, input_context: Any = None) -> Any:
        """Returns the batches of the training split, without end and shuffled."""
        model = self.task_config.model
        parser = TrainingParser(
            self.augmentation or AugmentationConfig(horizontal_flip=params.parser.aug_rand_hflip),
            output_size=model.input_size[:2],
            min_level=model.min_level,
            max_level=model.max_level,
            num_scales=model.anchor.num_scales,
            aspect_ratios=model.anchor.aspect_ratios,
            anchor_size=model.anchor.anchor_size,
            dtype=params.dtype,
            match_threshold=params.parser.match_threshold,
            unmatched_threshold=params.parser.unmatched_threshold,
            box_coder_weights=model.detection_generator.box_coder_weights,
            aug_type=params.parser.aug_type,
            aug_rand_jpeg=params.parser.aug_rand_jpeg,
            aug_scale_min=params.parser.aug_scale_min,
            aug_scale_max=params.parser.aug_scale_max,
            skip_crowd_during_training=params.parser.skip_crowd_during_training,
            max_num_instances=params.parser.max_num_instances,
            pad=params.parser.pad,
            keep_aspect_ratio=params.parser.keep_aspect_ratio,
        )
        # Ids that are no numbers are welcome: nothing in training reads them.
        decoder = tf_example_decoder.TfExampleDecoder(regenerate_source_id=True)
        reader = TrainingReader(
            self.files,
            params,
            decoder_fn=decoder.decode,
            parser_fn=parser.parse_fn(params.is_training),
        )
        return reader.read(input_context=input_context)


class TrainingReader(input_reader.InputReader):  # type: ignore[misc]
    """Model Garden's reader over shards that may be compressed, or in part in quarantine.

    Its base matches, mixes and shards files by name. Here the names are numbers: a path may hold
    what it takes for a pattern or a list.

    Args:
        files: The shards.
        params: Of the base.
        **settings: Of the base.
    """

    def __init__(self, files: Sequence[TrainingFile], params: Any, **settings: Any) -> None:
        self._files = tuple(files)
        super().__init__(params, dataset_fn=self._records, **settings)

    def get_files(self, _: Any) -> list[str]:
        return [str(number) for number in range(len(self._files))]

    def _records(self, names: Any) -> Any:
        """Returns the serialised records of the shards with these numbers, one after another."""
        numbers = tf.strings.to_number(tf.reshape(names, [-1]), tf.int32)
        return tf.data.Dataset.from_tensor_slices(numbers).flat_map(self._records_of)

    def _records_of(self, number: Any) -> Any:
        is_whole = tf.gather([file.payloads is None for file in self._files], number)
        path = tf.gather([file.uri for file in self._files], number)
        types = [_COMPRESSION_TYPES[file.compression] for file in self._files]
        whole = tf.data.TFRecordDataset(
            tf.boolean_mask([path], [is_whole]), compression_type=tf.gather(types, number)
        )
        if all(file.payloads is None for file in self._files):
            return whole
        in_part = tf.data.Dataset.from_generator(
            self._blocks, args=(number,), output_signature=tf.TensorSpec([None], tf.string)
        )
        return whole.concatenate(in_part.unbatch())

    def _blocks(self, number: int) -> Iterator[list[bytes]]:
        """Yields the records of a shard that is used in part, several at once: a call costs time."""
        payloads = self._files[number].payloads
        records = payloads() if payloads else iter(())
        while block := list(itertools.islice(records, _BLOCK_RECORDS)):
            yield block


class TrainingParser(retinanet_input.Parser):  # type: ignore[misc]
    """One decoded record to an image with its anchors' targets.

    Differs from its base in the order of work, not in the result: the image is normalised after
    the resize, where it is small, and the anchors are computed once. It keeps `max_num_instances`
    boxes, and flips and colours as `augmentation` says.

    Args:
        augmentation: Flips and colours; the scale is the base's.
        **settings: Of the base.
    """

    def __init__(self, augmentation: AugmentationConfig, **settings: Any) -> None:
        super().__init__(**settings)
        self._augmentation = augmentation
        self._padded_size = preprocess_ops.compute_padded_size(
            self._output_size, 2**self._max_level
        )
        generator = anchor.build_anchor_generator(
            min_level=self._min_level,
            max_level=self._max_level,
            num_scales=self._num_scales,
            aspect_ratios=self._aspect_ratios,
            anchor_size=self._anchor_size,
        )
        boxes = generator(image_size=tuple(self._padded_size))
        self._anchors = {level: tensor.numpy() for level, tensor in boxes.items()}
        self._labeler = anchor.AnchorLabeler(
            match_threshold=self._match_threshold,
            unmatched_threshold=self._unmatched_threshold,
            box_coder_weights=self._box_coder_weights,
        )

    def _parse_train_data(self, data: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        image, boxes, classes = data["image"], *self._objects(data)
        if self._augmenter is not None:
            image, boxes = self._augmenter.distort_with_boxes(image, boxes)
        if self._aug_rand_jpeg is not None:
            jpeg = self._aug_rand_jpeg
            image = preprocess_ops.random_jpeg_quality(
                image,
                min_quality=jpeg.min_quality,
                max_quality=jpeg.max_quality,
                prob_to_apply=jpeg.prob_to_apply,
            )
        boxes = box_ops.denormalize_boxes(boxes, tf.shape(image)[:2])
        image, info = preprocess_ops.resize_and_crop_image(
            image,
            self._output_size,
            padded_size=None,
            aug_scale_min=self._aug_scale_min,
            aug_scale_max=self._aug_scale_max,
            keep_aspect_ratio=self._keep_aspect_ratio,
        )
        boxes = preprocess_ops.resize_and_crop_boxes(boxes, info[2, :], info[1, :], info[3, :])
        image, boxes = _flipped(image, boxes, self._augmentation)
        image = _coloured(image / 255.0, self._augmentation.colour_jitter)
        image = normalise_and_pad(image, size=self._padded_size)
        kept = box_ops.get_non_empty_box_indices(boxes)
        return tf.cast(image, self._dtype), self._targets(
            tf.gather(boxes, kept), tf.gather(classes, kept)
        )

    def _objects(self, data: Mapping[str, Any]) -> tuple[Any, Any]:
        """Returns boxes and classes without crowds, as many as may be kept."""
        boxes, classes = data["groundtruth_boxes"], data["groundtruth_classes"]
        if self._skip_crowd_during_training:
            single = tf.where(tf.logical_not(data["groundtruth_is_crowd"]))[:, 0]
            boxes, classes = tf.gather(boxes, single), tf.gather(classes, single)
        return boxes[: self._max_num_instances], classes[: self._max_num_instances]

    def _targets(self, boxes: Any, classes: Any) -> dict[str, Any]:
        anchors = {level: tf.constant(array) for level, array in self._anchors.items()}
        cls_targets, box_targets, _, cls_weights, box_weights = self._labeler.label_anchors(
            anchors, boxes, tf.expand_dims(classes, axis=1)
        )
        return {
            "cls_targets": cls_targets,
            "box_targets": box_targets,
            "cls_weights": cls_weights,
            "box_weights": box_weights,
        }


def _flipped(image: Any, boxes: Any, augmentation: AugmentationConfig) -> tuple[Any, Any]:
    """Mirrors half of the images, before they are padded.

    Args:
        image: float32 [h, w, 3].
        boxes: float32 [N, 4], [ymin, xmin, ymax, xmax] in pixels of the image.
        augmentation: Which directions.
    """
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    if augmentation.horizontal_flip:
        mirrored = tf.stack(
            [boxes[:, 0], size[1] - boxes[:, 3], boxes[:, 2], size[1] - boxes[:, 1]], axis=1
        )
        flip = tf.random.uniform([]) < 0.5
        image = tf.cond(flip, lambda: image[:, ::-1], lambda: image)
        boxes = tf.where(flip, mirrored, boxes)
    if augmentation.vertical_flip:
        mirrored = tf.stack(
            [size[0] - boxes[:, 2], boxes[:, 1], size[0] - boxes[:, 0], boxes[:, 3]], axis=1
        )
        flip = tf.random.uniform([]) < 0.5
        upright = image
        image = tf.cond(flip, lambda: upright[::-1], lambda: upright)
        boxes = tf.where(flip, mirrored, boxes)
    return image, boxes


def _coloured(image: Any, strength: float) -> Any:
    """Varies contrast, brightness and saturation, each by up to a share of itself.

    Args:
        image: float32 [h, w, 3] in [0, 1].
        strength: In [0, 1); 0 leaves the image as it is.
    """
    if not strength:
        return image
    contrast, brightness, saturation = tf.unstack(
        tf.random.uniform([3], 1 - strength, 1 + strength)
    )
    mean = tf.reduce_mean(image)
    image = (image - mean) * contrast + mean * brightness
    grey = tf.reduce_mean(image, axis=2, keepdims=True)
    return tf.clip_by_value((image - grey) * saturation + grey, 0.0, 1.0)
