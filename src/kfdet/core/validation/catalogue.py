"""Every finding there can be: its stable code, severity, meaning and remedy.

An error is what crashes training or evaluation, or makes either silently wrong. A warning is what
is probably not meant. Information is what is worth knowing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kfdet.errors import ConfigError, did_you_mean

Group = Literal[
    "files and shards", "record", "image", "boxes", "classes", "label map", "splits", "fit"
]
SeverityOrOff = Literal["error", "warning", "info", "off"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """Attributes:
    code: Stable name; configurations refer to it.
    what: The fault, as a heading.
    why: What comes of it.
    remedy: What to do.
    limits: What is not found, where that is not plain.
    """

    code: str
    severity: SeverityOrOff
    group: Group
    what: str
    why: str
    remedy: str
    limits: str = ""


def _check(
    group: Group,
    severity: SeverityOrOff,
    code: str,
    *,
    what: str,
    why: str,
    remedy: str,
    limits: str = "",
) -> Check:
    return Check(
        code=code, severity=severity, group=group, what=what, why=why, remedy=remedy, limits=limits
    )


_FILES = (
    _check(
        "files and shards",
        "error",
        "file-no-match",
        what="A pattern matches no file",
        why="The split would be smaller than meant, or empty.",
        remedy="Check the path; it is relative to the folder that kfdet is started in.",
    ),
    _check(
        "files and shards",
        "error",
        "file-name-unusable",
        what="A file's name is no text that can be shown",
        why="No manifest and no log can name it. It was not read.",
        remedy="Rename the file.",
    ),
    _check(
        "files and shards",
        "error",
        "file-unreadable",
        what="A file can't be read",
        why="Training would stop at it.",
        remedy="Check its permissions, and that it is a file that was copied whole.",
    ),
    _check(
        "files and shards",
        "error",
        "file-empty",
        what="A file has no bytes",
        why="It is read as a shard without images: an upload that failed looks the same.",
        remedy="Write the shard again, or delete it if it is meant to be empty.",
    ),
    _check(
        "files and shards",
        "info",
        "file-compressed",
        what="A file is compressed",
        why="It is read, but unpacked anew in every epoch, and images hardly shrink.",
        remedy="Nothing; write it without TFRecordOptions if reading is what training waits for.",
    ),
    _check(
        "files and shards",
        "error",
        "file-compression-damaged",
        what="A file's gzip or zlib compression is damaged",
        why="Readers stop at the damage, or lose what is behind it without a word.",
        remedy="Copy or write the shard again.",
    ),
    _check(
        "files and shards",
        "error",
        "file-bomb",
        what="A compressed file grows to over 100 times its size",
        why="Images don't: it fills the disk and the memory of whatever reads it. It was not read.",
        remedy="Find out where it comes from; decompress it by hand if it is really meant.",
    ),
    _check(
        "files and shards",
        "error",
        "file-in-two-splits",
        what="One file is in two splits, or twice in one",
        why="Its images are trained on and evaluated on, or counted twice.",
        remedy="Narrow the patterns so that each file matches once.",
    ),
    _check(
        "files and shards",
        "error",
        "record-length-corrupt",
        what="The checksum of a record's length is wrong",
        why="Every reader stops here; the records behind it are lost.",
        remedy="Copy or write the shard again.",
    ),
    _check(
        "files and shards",
        "error",
        "record-data-corrupt",
        what="The checksum of a record is wrong",
        why="Every reader stops here; the records behind it are lost.",
        remedy="Copy or write the shard again.",
    ),
    _check(
        "files and shards",
        "error",
        "record-truncated",
        what="A file ends inside a record",
        why="Readers stop here with an error, or lose the record without one.",
        remedy="Copy or write the shard again.",
    ),
    _check(
        "files and shards",
        "error",
        "shard-missing",
        what="A shard of a numbered set is missing",
        why="Its images are silently neither trained on nor evaluated on.",
        remedy="Copy the missing shard, or widen the pattern.",
    ),
    _check(
        "files and shards",
        "error",
        "shard-doubled",
        what="A shard of a numbered set is there more than once",
        why="Its images count twice.",
        remedy="Narrow the pattern, or delete what is left of an older set.",
    ),
    _check(
        "files and shards",
        "error",
        "shard-totals-differ",
        what="Shards of one name belong to sets of different length",
        why="An older set lies beside a newer one and both are read.",
        remedy="Delete the older set, or narrow the pattern to -of-NNNNN of the newer.",
    ),
    _check(
        "files and shards",
        "info",
        "shard-uneven",
        what="A shard is much larger than its siblings",
        why="Tasks that share the shards wait for the one that has it.",
        remedy="Write the records evenly over the shards.",
    ),
    _check(
        "files and shards",
        "info",
        "shards-few",
        what="A split has fewer shards than tasks that share it",
        why="A shard is read by one task: the tasks beyond have nothing to do.",
        remedy="Write more shards, or lower evaluation.shards.",
    ),
)

_RECORD = (
    _check(
        "record",
        "error",
        "record-not-example",
        what="A record is no tf.train.Example",
        why="Training stops with a parse error that names no file.",
        remedy="Write serialised tf.train.Example messages.",
    ),
    _check(
        "record",
        "error",
        "field-missing",
        what="A required feature is missing",
        why="Training stops, or takes a default: sizes and areas become meaningless.",
        remedy="Write the standard detection features; kfdet data convert does.",
    ),
    _check(
        "record",
        "error",
        "field-type",
        what="A feature has another type than the standard one",
        why="Training stops with a parse error that names no file.",
        remedy="Write bytes, int64 and float lists as the detection example defines them.",
    ),
    _check(
        "record",
        "error",
        "field-length",
        what="A feature has another number of values than the record has boxes",
        why="Training stops, or boxes are dropped or paired with the wrong classes.",
        remedy="Write one value for each box in every list of objects.",
    ),
    _check(
        "record",
        "error",
        "source-id-doubled",
        what="Two records of a split have the same source_id",
        why="The id names no image: evaluators that key by it overwrite one with the other.",
        remedy="Give every image an id of its own, or remove the copy.",
    ),
    _check(
        "record",
        "warning",
        "source-id-empty",
        what="A record has an empty source_id",
        why="Reports can't say which image they mean.",
        remedy="Write a name or number that finds the image again.",
    ),
    _check(
        "record",
        "off",
        "source-id-not-integer",
        what="A split has source ids that are no integers",
        why="Evaluation here takes any id; Model Garden's own evaluator and COCO's tools stop at it.",
        remedy="Write integers, if such a tool reads the records too.",
    ),
    _check(
        "record",
        "error",
        "area-not-finite",
        what="A recorded area is NaN or infinite",
        why="No evaluation can take such a box: COCO's engines sort objects by their area.",
        remedy="Write the area in square pixels, or leave image/object/area out.",
    ),
    _check(
        "record",
        "warning",
        "area-implausible",
        what="A recorded area does not fit its box",
        why="AP by object size puts the object into the wrong class of size.",
        remedy="Write areas in square pixels, or leave image/object/area out.",
    ),
)

_IMAGE = (
    _check(
        "image",
        "error",
        "image-undecodable",
        what="An image can't be decoded whole",
        why="Training stops at it with an error that names no file.",
        remedy="Write the image again from its original, or leave the record out.",
    ),
    _check(
        "image",
        "error",
        "image-truncated",
        what="An image ends too early",
        why="TensorFlow refuses it, even where viewers show it, and training stops.",
        remedy="Write the image again from its original, or encode it anew.",
    ),
    _check(
        "image",
        "error",
        "image-format-unsupported",
        what="An image is of a format that the trainer does not decode",
        why="Training stops at it.",
        remedy="Encode it as JPEG or PNG.",
    ),
    _check(
        "image",
        "error",
        "image-too-large",
        what="An image has too many pixels to be decoded safely",
        why="A single such image can use up the memory of a training worker.",
        remedy="Scale it down, or cut it into tiles.",
    ),
    _check(
        "image",
        "error",
        "image-size-mismatch",
        what="Declared height and width are not those of the image",
        why="Boxes and areas in pixels are computed from the declared size.",
        remedy="Write the decoded size; check whether the image was resized or rotated.",
    ),
    _check(
        "image",
        "warning",
        "image-size-missing",
        what="A record does not declare height and width",
        why="Here the image is asked. Model Garden's own evaluation takes areas for shares of the image.",
        remedy="Write image/height and image/width.",
    ),
    _check(
        "image",
        "error",
        "image-extreme-shape",
        what="An image is a strip: one side is over 64 times the other",
        why="Resized to the model's input its short side becomes nothing, and training stops.",
        remedy="Leave it out, or cut it into parts.",
    ),
    _check(
        "image",
        "warning",
        "image-format-mismatch",
        what="The declared format is not that of the image",
        why="The trainer looks at the bytes, but other readers believe the declaration.",
        remedy="Write image/format as jpeg or png, as the bytes are.",
    ),
    _check(
        "image",
        "warning",
        "image-exif-rotated",
        what="EXIF asks viewers to rotate the image",
        why="TensorFlow does not: boxes drawn in a viewer that does then miss their objects.",
        remedy="Rotate the pixels and clear the tag, then check the boxes.",
    ),
    _check(
        "image",
        "warning",
        "image-blank",
        what="An image is of one colour",
        why="It teaches nothing; often a failed download or a lost frame.",
        remedy="Look at it, and leave it out.",
    ),
    _check(
        "image",
        "warning",
        "image-small",
        what="An image is smaller than 16 pixels on a side",
        why="It is enlarged until nothing is left to recognise.",
        remedy="Check that it is no thumbnail.",
    ),
    _check(
        "image",
        "info",
        "image-mode-unusual",
        what="An image is not 8-bit RGB",
        why="The trainer converts it: grey is repeated, alpha dropped, 16 bits cut to 8.",
        remedy="Nothing, unless the information that is lost matters.",
    ),
)

_BOXES = (
    _check(
        "boxes",
        "error",
        "box-not-finite",
        what="A box side is NaN or infinite",
        why="Training drops the box or its loss becomes NaN; evaluation keeps it.",
        remedy="Correct the annotation, or leave the box out.",
    ),
    _check(
        "boxes",
        "error",
        "box-inverted",
        what="A box ends before it begins",
        why="Training silently drops it; evaluation counts it as an object nobody can find.",
        remedy="Swap the sides if that is the mistake, or leave the box out.",
    ),
    _check(
        "boxes",
        "error",
        "box-no-area",
        what="A box has no area",
        why="Training silently drops it; evaluation counts it as an object nobody can find.",
        remedy="Correct the annotation, or leave the box out.",
    ),
    _check(
        "boxes",
        "error",
        "box-pixel-coordinates",
        what="A box is in pixels where shares of the image belong",
        why="Training silently drops it as lying outside the image.",
        remedy="Divide boxes by the image's width and height before writing.",
    ),
    _check(
        "boxes",
        "error",
        "box-beyond-border",
        what="A box reaches more than a pixel beyond the image",
        why="Training cuts it off; evaluation compares with the uncut box.",
        remedy="Clip boxes to [0, 1]; check that they were divided by the right size.",
    ),
    _check(
        "boxes",
        "error",
        "boxes-misplaced",
        what="The boxes of a split fit their images better when they are moved",
        why="Sides were swapped, or images were turned or mirrored and their boxes were not.",
        remedy="Look at the samples; correct the order of the sides, or rotate images and clear EXIF.",
    ),
    _check(
        "boxes",
        "warning",
        "box-duplicate",
        what="A box is annotated twice with the same class",
        why="One of the two can never be found: suppression leaves one detection.",
        remedy="Leave the copy out.",
    ),
    _check(
        "boxes",
        "warning",
        "box-near-duplicate",
        what="Two boxes of one class overlap with an IoU of 0.9 or more",
        why="Probably one object annotated twice; suppression leaves one detection for the two.",
        remedy="Look at them, and leave one out.",
    ),
    _check(
        "boxes",
        "warning",
        "box-two-classes",
        what="A box is annotated with two classes",
        why="At most one of them is right, unless the classes are meant to overlap.",
        remedy="Decide on one class.",
    ),
    _check(
        "boxes",
        "warning",
        "box-tiny",
        what="A box is less than 2 pixels high or wide",
        why="No detector finds it; often a slip of the annotator's hand.",
        remedy="Look at it, and leave it out.",
    ),
    _check(
        "boxes",
        "error",
        "boxes-too-many",
        what="A record has over 10,000 boxes",
        why="No image shows so many objects, and matching them takes an evaluation's time and memory.",
        remedy="Look at it: annotations of many images may have been written into one.",
    ),
    _check(
        "boxes",
        "info",
        "group-of-ignored",
        what="A record has boxes that stand for groups of objects",
        why="Training and evaluation take each for one object, as Model Garden's decoder does.",
        remedy="Write is_crowd instead of group_of for such boxes, or leave them out.",
    ),
    _check(
        "boxes",
        "info",
        "difficult-ignored",
        what="A record has boxes that are marked as difficult",
        why="Training and evaluation take them like all others; Pascal VOC's evaluation does not count them.",
        remedy="Nothing, unless metrics are compared with those of Pascal VOC; else leave them out.",
    ),
    _check(
        "boxes",
        "info",
        "box-whole-image",
        what="A box covers 99 % of the image or more",
        why="Right for a close-up; often the default of a tool.",
        remedy="Look at some of them.",
    ),
)

_CLASSES = (
    _check(
        "classes",
        "error",
        "class-id-zero",
        what="A box has class id 0, which is the background",
        why="It is trained and never predicted.",
        remedy="Number classes from 1.",
    ),
    _check(
        "classes",
        "error",
        "class-id-unknown",
        what="A class id is not in the label map",
        why="An id beyond the map is silently trained as background.",
        remedy="Add the class to the label map, or correct the records.",
    ),
    _check(
        "classes",
        "error",
        "class-text-disagrees",
        what="Class text and class id name different classes",
        why="One of the two is wrong; training follows the id.",
        remedy="Use the label map that the records were written with.",
    ),
    _check(
        "classes",
        "warning",
        "class-text-spelling",
        what="Class text is spelt otherwise than in the label map",
        why="Tools that look classes up by name miss it.",
        remedy="Use one spelling.",
    ),
    _check(
        "classes",
        "error",
        "class-off-by-one",
        what="Records and label map are off by one",
        why="Every class is trained under its neighbour's name.",
        remedy="Number the label map as the records are, from 1.",
    ),
    _check(
        "classes",
        "warning",
        "class-absent",
        what="A class of the label map has no box in a split",
        why="Absent from train it can't be learnt; absent elsewhere its AP is undefined.",
        remedy="Add images of it, or take it out of the label map.",
    ),
    _check(
        "classes",
        "info",
        "class-imbalance",
        what="The commonest class has over 100 times the boxes of the rarest",
        why="The rare class is learnt late or not at all, and its AP is noisy.",
        remedy="Add images of the rare class.",
    ),
)

_LABEL_MAP = (
    _check(
        "label map",
        "error",
        "label-map-unreadable",
        what="The label map can't be read",
        why="Nothing can say which class an id is.",
        remedy="Correct the file that dataset.label_map names.",
    ),
    _check(
        "label map",
        "warning",
        "label-map-gaps",
        what="The label map leaves out ids",
        why="The detector's head gets outputs that nothing trains.",
        remedy="Number classes 1, 2, 3 without gaps, unless the ids are fixed elsewhere.",
    ),
    _check(
        "label map",
        "warning",
        "label-map-names-alike",
        what="Two classes differ only in case, spacing or one letter",
        why="They are probably one class, and the detector is told to tell them apart.",
        remedy="Merge them.",
    ),
)

_SPLITS = (
    _check(
        "splits",
        "error",
        "split-empty",
        what="A split has no images",
        why="There is nothing to train on, to select by, or to judge by.",
        remedy="Check the patterns of the split.",
    ),
    _check(
        "splits",
        "error",
        "image-in-two-splits",
        what="The same image is in two splits",
        why="The detector is judged on what it has seen: metrics come out too high.",
        remedy="Leave it in one split.",
    ),
    _check(
        "splits",
        "warning",
        "image-near-copy",
        what="An image looks like one of another split",
        why="Two frames of one scene: the detector is judged on what it has nearly seen.",
        remedy="Put both into one split; divide by scene, patient or day and not by image.",
        limits="Two images look alike if at most 32 of the 255 bits of their perceptual hashes "
        "differ. Images of one brightness have none, and those without texture differ by chance. Of the others "
        "all that look like one of an earlier split are found, as long as the two splits make no more "
        "than 2,147,483,648 pairs (160,000 images, divided 8 : 1 : 1). In larger sets, where over "
        "2,048 images of a split share a part of the hash, as frames of a camera that never moves "
        "do, an image is compared of these only with the 256 that are next to it: some copies in a "
        "thousand, encoded anew or scaled, are missed in such a crowd, and many of the images that "
        "are only just alike.",
    ),
    _check(
        "splits",
        "warning",
        "image-doubled",
        what="The same image is twice in one split",
        why="It counts double, possibly with two different sets of boxes.",
        remedy="Leave the copy out.",
    ),
    _check(
        "splits",
        "warning",
        "source-id-in-two-splits",
        what="The same source_id is in two splits",
        why="Either an image is in both, or an id names two images.",
        remedy="Make ids unique over all splits.",
    ),
    _check(
        "splits",
        "warning",
        "images-without-boxes",
        what="Most images of a split have no box",
        why="They cost training time and teach only the background.",
        remedy="Check that their annotations were not lost; leave some out.",
    ),
    _check(
        "splits",
        "warning",
        "drift-classes",
        what="The classes of a split are shared out otherwise than in train",
        why="AP on it says little about the classes that train has most of.",
        remedy="Divide the images at random, unless the split is meant to differ.",
    ),
    _check(
        "splits",
        "warning",
        "drift-box-sizes",
        what="The boxes of a split have other sizes than in train",
        why="The detector meets sizes that it hardly saw, and anchors fitted to train miss them.",
        remedy="Divide the images at random, unless the split is meant to differ.",
    ),
    _check(
        "splits",
        "warning",
        "drift-box-shapes",
        what="The boxes of a split have other shapes than in train",
        why="The detector meets shapes that it hardly saw, and anchors fitted to train miss them.",
        remedy="Divide the images at random, unless the split is meant to differ.",
    ),
    _check(
        "splits",
        "warning",
        "drift-brightness",
        what="The images of a split are darker or brighter than in train",
        why="Metrics mix the detector's quality with a change of light.",
        remedy="Divide the images at random, unless the split is meant to differ.",
    ),
    _check(
        "splits",
        "warning",
        "drift-empty-images",
        what="A split has another share of images without boxes than train",
        why="False alarms count for more, or for less, than train prepares for.",
        remedy="Divide the images at random, unless the split is meant to differ.",
    ),
)

_FIT = (
    _check(
        "fit",
        "error",
        "rule-out-of-reach",
        what="A rule of the gate can't hold, whatever is trained",
        why="The training is spent on a model that can't be let out.",
        remedy="Do what the finding names, or ask for less in gate.rules.",
    ),
    _check(
        "fit",
        "warning",
        "rule-at-risk",
        what="A rule of the gate may not hold even for a very good model",
        why="A perfect detector misses the threshold, or the interval is wider than the room left.",
        remedy="Do what the finding names, or ask for less in gate.rules.",
    ),
    _check(
        "fit",
        "info",
        "rule-decided-by-chance",
        what="A comparison asks for less than the test set can tell",
        why="Judged by the measured values alone, equal models pass and fail by luck.",
        remedy="Add test images, allow for a larger drop, or set gate.confidence.",
    ),
    _check(
        "fit",
        "warning",
        "oracle-below-one",
        what="The ground truth as detections does not score 1",
        why="Something before or behind the model costs what no training brings back.",
        remedy="Correct the boxes that the finding names, or leave their records out.",
    ),
    _check(
        "fit",
        "warning",
        "too-many-objects",
        what="An image has more objects than are kept",
        why="Those beyond the limit are not trained on, or can't be found.",
        remedy="Raise detector.max_instances for train, detector.nms.max_detections for the others.",
    ),
    _check(
        "fit",
        "warning",
        "objects-suppressed",
        what="Objects of a class overlap by more than non-maximum suppression lets stand",
        why="Of such a pair one is lost, however good the detector.",
        remedy="Raise detector.nms.iou_threshold.",
    ),
    _check(
        "fit",
        "warning",
        "small-objects",
        what="Boxes all but vanish in the resize",
        why="Below a few pixels there is nothing left to learn from.",
        remedy="Raise detector.input_size, or cut the images into tiles.",
    ),
    _check(
        "fit",
        "warning",
        "anchors-miss-boxes",
        what="Many boxes of a class overlap no anchor by half",
        why="Only the best anchor learns such a box, and badly.",
        remedy="Take the anchors that kfdet check suggests.",
    ),
    _check(
        "fit",
        "warning",
        "boxes-without-anchor",
        what="Boxes share their best anchor with another box and have no other",
        why="Training takes them for background.",
        remedy="Lower detector.min_level, or add scales or ratios to detector.anchors.",
    ),
    _check(
        "fit",
        "info",
        "padding",
        what="Much of the model's input is padding",
        why="It costs as much time as the image.",
        remedy="Choose a height and width closer to the images' aspect ratio.",
    ),
    _check(
        "fit",
        "info",
        "images-enlarged",
        what="Images are enlarged by the resize",
        why="That costs time and adds no detail.",
        remedy="Lower detector.input_size, unless small objects need the room.",
    ),
    _check(
        "fit",
        "warning",
        "less-than-an-epoch",
        what="The training ends before every image has been seen",
        why="What is not seen is not learnt.",
        remedy="Raise training.steps or training.batch_size.",
    ),
    _check(
        "fit",
        "warning",
        "score-threshold-high",
        what="Detections of low score are dropped before the evaluation",
        why="Average precision counts them: it falls with the threshold, recall with it.",
        remedy="Lower detector.nms.score_threshold, and choose the operating point afterwards.",
    ),
    _check(
        "fit",
        "warning",
        "disk-too-small",
        what="The checkpoints need more space than is free",
        why="Training stops when the disk is full.",
        remedy="Free some space, or raise training.checkpoint_every.",
    ),
)

CATALOGUE: tuple[Check, ...] = (
    *_FILES,
    *_RECORD,
    *_IMAGE,
    *_BOXES,
    *_CLASSES,
    *_LABEL_MAP,
    *_SPLITS,
    *_FIT,
)
BY_CODE: Mapping[str, Check] = {check.code: check for check in CATALOGUE}


def severities(overrides: Mapping[str, SeverityOrOff]) -> dict[str, SeverityOrOff]:
    """Returns the severity of every code under a configuration's overrides.

    Raises:
        ConfigError: An override names no code.
    """
    unknown = [code for code in overrides if code not in BY_CODE]
    if unknown:
        raise ConfigError(
            f"no finding has the code {', '.join(unknown)}",
            where="dataset.severities",
            remedy=did_you_mean(unknown[0], BY_CODE)
            or "kfdet validate's report and docs list the codes.",
        )
    defaults: dict[str, SeverityOrOff] = {check.code: check.severity for check in CATALOGUE}
    return {**defaults, **overrides}
