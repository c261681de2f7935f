"""The only importer of TensorFlow and Model Garden.

TensorFlow reads some settings from the environment while it is imported, so they are set here, before
any module below imports it. What the environment says already is kept.
"""

import logging
import os
from pathlib import Path

from kfdet.cores import core_limit

# Without a driver TensorFlow reports the missing GPU as an error; training says what it runs on.
_HAS_DRIVER = Path("/proc/driver/nvidia").exists()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if _HAS_DRIVER else "3")
# A task that takes all of a GPU's memory leaves none for the process that reloads its export.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# Model Garden works with tf_keras; TensorFlow would load Keras 3 beside it, for a second.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# TensorFlow starts threads for every core of the node, which a container's limit then slows down.
if _LIMIT := core_limit():
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(_LIMIT))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(_LIMIT))
# Deprecations inside Model Garden are nothing that a reader of a stage's output can act on.
logging.getLogger("tensorflow").setLevel(logging.ERROR)
logging.getLogger("absl").setLevel(logging.ERROR)
