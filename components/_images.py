"""The one place that names the images.

A name must contain `python`: kfp's local runner takes an image without it for one that can't
run Python.
"""

from __future__ import annotations

import os

_REGISTRY = os.environ.get("KFDET_IMAGE_REGISTRY", "ghcr.io/kfdet")
_TAG = os.environ.get("KFDET_IMAGE_TAG", "0.1.0")

LIGHT = f"{_REGISTRY}/python-light:{_TAG}"
TENSORFLOW = f"{_REGISTRY}/python-tensorflow:{_TAG}"
