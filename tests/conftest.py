"""What holds for every test, whatever the machine is busy with, and however the tests were started."""

import signal

from hypothesis import settings

# Hypothesis looks at what happens, not at how long it takes.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell starts what it puts into the background with Ctrl-C ignored. The commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
