"""What all tests share."""

import signal

from hypothesis import settings

# Machines are noisy: no test asserts a time, and no example has a deadline.
settings.register_profile("kfdet", deadline=None)
settings.load_profile("kfdet")

# A shell's background job is started with SIGINT ignored, and hands that on: tests that press
# Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
