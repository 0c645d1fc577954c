"""Settings of all decoder tests."""

from hypothesis import settings

# the first example may have to wait for a kernel to be compiled, and time is not what is tested
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
