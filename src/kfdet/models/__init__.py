"""The only importer of TensorFlow and Model Garden.

TensorFlow reads the level of its C++ log while it is imported, so it is set here, before any module
below imports it. A level from the environment is kept.
"""

import logging
import os
from pathlib import Path

# Without a driver TensorFlow reports the missing GPU as an error; training says what it runs on.
_HAS_DRIVER = Path("/proc/driver/nvidia").exists()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if _HAS_DRIVER else "3")
# Deprecations inside Model Garden are nothing that a reader of a stage's output can act on.
logging.getLogger("tensorflow").setLevel(logging.ERROR)
logging.getLogger("absl").setLevel(logging.ERROR)
