from wasmtime import Linker, Module, Store, wat2wasm

from gateway.sandbox.engine import make_engine
from gateway.sandbox.shape import read_shape
from gateway.sandbox.wasi import FUNCTIONS, MODULE

IMPORTS = "".join(
    f'(import "{MODULE}" "{name}" (func (param {" ".join(f.params)}) (result {" ".join(f.results)})))'
    for name, f in FUNCTIONS.items()
)
EVERYTHING = bytes(wat2wasm(f'(module {IMPORTS} (memory (export "memory") 1))'))


def test_the_types_are_those_of_wasmtime_s_own_wasi() -> None:
    """A module that imports the whole table links against another implementation of the standard."""
    engine = make_engine()
    linker = Linker(engine)
    linker.define_wasi()
    assert linker.instantiate_pre(Module(engine, EVERYTHING))
    assert Store(engine)


def test_the_table_is_the_whole_of_preview_1() -> None:
    """46 functions, each of which is accepted with its type."""
    shape = read_shape(EVERYTHING)
    assert len(shape.imports) == len(FUNCTIONS) == 46
    assert [item.violation() for item in shape.imports] == [None] * 46


def test_only_functions_of_the_table_answer_by_themselves() -> None:
    """Whatever opens, reads, waits or connects has a fixed no for an answer."""
    fixed = {name for name, function in FUNCTIONS.items() if function.answer}
    assert {name for name in FUNCTIONS if name.startswith(("path_", "sock_"))} <= fixed
    assert {"poll_oneoff", "fd_read", "fd_prestat_get", "fd_readdir"} <= fixed
