"""A module whose import does not end: a zygote that preloads it never says that it is ready."""

import threading

threading.Event().wait()
