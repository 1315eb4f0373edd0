"""Decisions: a vetted Rego bundle, engines that answer from it, and answers parsed so that only a yes is a yes."""

import os

# regorus' allocator reads this once, when the library is loaded, and would reserve 1 GiB of address space: a worker's
# limit (RLIMIT_AS) could then not be lower. KiB; the package is the one place that surely runs before the import.
os.environ.setdefault("MIMALLOC_ARENA_RESERVE", "65536")
