"""What holds for every test: hypothesis looks at what happens, not at how long it takes; a machine may be busy."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
