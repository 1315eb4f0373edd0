"""The one configuration of wasmtime that modules are compiled for and run with.

Everything that is not needed is off: each feature is compiler surface, and some (threads, relaxed SIMD) are not
deterministic. Source: wasmtime's Config documentation, "Deterministic Wasm Execution".
"""

from typing import Final

from wasmtime import Config, Engine

from engine.constraints.limits import MEMORY_BYTES_CEILING
from gateway.sandbox import native

STACK_BYTES_MAX: Final = 256 * 1024
INSTANCES_MAX: Final = 1
TABLES_MAX: Final = 4
TABLE_ELEMENTS_MAX: Final = 10_000
MEMORIES_MAX: Final = 1  # the memory limit is per memory

_FEATURES_OFF: Final = (
    "wasm_threads",
    "wasm_simd",
    "wasm_relaxed_simd",
    "wasm_tail_call",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_exceptions",
    "wasm_function_references",
    "wasm_gc",
    "wasm_component_model",
    "wasm_wide_arithmetic",
    "wasm_custom_page_sizes",
    "wasm_stack_switching",
    "gc_support",
    "shared_memory",
)


def make_engine(*, pooling: bool | None = None) -> Engine:
    """Return a new engine; in a worker, only ever after the fork.

    The jail and the workers must agree on `pooling`, or an artefact does not load. None: pooling where this wasmtime
    is one that `native` knows.
    """
    config = Config()
    config.consume_fuel = True
    config.epoch_interruption = True
    config.cranelift_nan_canonicalization = True
    for feature in _FEATURES_OFF:
        setattr(config, feature, False)
    config.parallel_compilation = False  # the jail counts the CPU time of one thread
    config.max_wasm_stack = STACK_BYTES_MAX
    config.memory_reservation = MEMORY_BYTES_CEILING
    config.memory_reservation_for_growth = 0
    config.memory_guard_size = 64 * 1024
    config.memory_may_move = False
    if native.supported() if pooling is None else pooling:
        native.use_pooling(config, _POOL)
    return Engine(config)


_POOL: Final = {
    "total_core_instances": 2,  # one runs at a time; the second slot is for the one being torn down
    "total_memories": 2,
    "total_tables": 2 * TABLES_MAX,
    "total_stacks": 0,
    "total_gc_heaps": 0,
    "total_component_instances": 0,
    "max_memories_per_module": MEMORIES_MAX,
    "max_tables_per_module": TABLES_MAX,
    "max_memory_size": MEMORY_BYTES_CEILING,
    "max_core_instance_size": 1024 * 1024,
    "table_elements": TABLE_ELEMENTS_MAX,
    "max_unused_warm_slots": 2,
    "linear_memory_keep_resident": 256 * 1024,  # reset by copying up to here, by the kernel beyond
    "table_keep_resident": 16 * 1024,
}
