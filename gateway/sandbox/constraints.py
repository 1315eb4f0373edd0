"""What is true of constraints in WebAssembly alone; the constraints themselves are `engine.constraints`.

Source: docs/adr/0005-fuel-and-epochs.md.
"""

from typing import Final

STARVED_REPEATS_MAX: Final = 5
"""How often a run is repeated that met its wall without having had the CPU: it is pure, and a busy host is no fault of
its own. With six runnable processes on two cores, one repetition let one run in 20,000 fail."""

MEMORY_PAGE_BYTES: Final = 65_536  # of WebAssembly
