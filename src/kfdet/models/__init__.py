"""The only importer of TensorFlow and Model Garden.

TensorFlow reads the level of its C++ log while it is imported, so it is set here, before any module
below imports it. A level from the environment is kept.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
