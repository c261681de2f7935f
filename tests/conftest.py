"""What all tests share."""

from hypothesis import settings

# Machines are noisy: no test asserts a time, and no example has a deadline.
settings.register_profile("kfdet", deadline=None)
settings.load_profile("kfdet")
