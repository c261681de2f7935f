"""The one place that names the images.

A name must contain `python`: kfp's local runner takes an image without it for one that can't
run Python.
"""

from __future__ import annotations

import os

from kfdet import __version__
from kfdet.schema.base import parse
from kfdet.schema.cluster_config import ImagesConfig

TARGETS = ("light", "tensorflow", "tensorflow-gpu")
_RELEASES = "ghcr.io/kfdet"


def image_name(target: str, images: ImagesConfig | None = None) -> str:
    """Returns the full name of an image.

    Args:
        target: One of TARGETS.
        images: What the run says of them; then come KFDET_IMAGE_REGISTRY and KFDET_IMAGE_TAG, then
            the release.

    Raises:
        ConfigError: What the environment says is no registry or no tag.
    """
    said = images or ImagesConfig()
    registry = said.registry or _from_environment("registry") or _RELEASES
    tag = said.tag or _from_environment("tag") or __version__
    digest = said.digests.model_dump()[target.replace("-", "_")]
    return f"{registry.rstrip('/')}/python-{target}:{tag}" + (f"@{digest}" if digest else "")


def _from_environment(field: str) -> str | None:
    variable = f"KFDET_IMAGE_{field.upper()}"
    value = os.environ.get(variable) or None
    parse(ImagesConfig, {field: value}, where=f"environment variable {variable}")
    return value


LIGHT = image_name("light")
TENSORFLOW = image_name("tensorflow")


def task_image(image: str, images: ImagesConfig, *, gpus: int) -> str:
    """Returns the image that a task runs in.

    Args:
        image: The one that its component is written for, LIGHT or TENSORFLOW.
        images: What the run says of them.
        gpus: Accelerators of the task; with any, TensorFlow comes with the CUDA libraries.
    """
    target = {LIGHT: "light", TENSORFLOW: "tensorflow"}[image]
    return image_name("tensorflow-gpu" if gpus and target == "tensorflow" else target, images)
