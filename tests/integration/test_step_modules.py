"""Every built-in module against the cases beside its source, and against what the ABI promises of all modules."""

import json
import tomllib
from typing import Any

import pytest
from wasmtime import FuncType, MemoryType, Trap, WasmtimeError

from tests.step_modules import SOURCES, allocated, hooks, limits, module, run, step

KINDS = ("approval", "command", "create_file", "delay", "http", "mission", "read_file", "transform")
PAGE = 65_536


def cases() -> list[Any]:
    return [
        pytest.param(path.parent.name, case, id=f"{path.parent.name}: {case['name']}")
        for path in sorted(SOURCES.glob("steps/*/cases.json"))
        for case in json.loads(path.read_text("utf-8"))
    ]


def document(case: dict[str, Any]) -> bytes:
    parameters = case.get("parameters_text") or compact(case["parameters"])
    journal = case.get("journal_text") or compact(case.get("journal", []))
    return step(parameters, journal)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize(("kind", "case"), cases())
def test_answers_as_its_cases_say(kind: str, case: dict[str, Any]) -> None:
    """A module answers each case as written beside it; where the case gives text, to the byte."""
    answer = run(kind, document(case)).answer
    if "expect_text" in case:
        assert answer.decode() == case["expect_text"]
    else:
        assert json.loads(answer) == case["expect"]


@pytest.mark.parametrize(("kind", "case"), cases())
def test_the_same_input_gives_the_same_bytes_for_the_same_fuel(kind: str, case: dict[str, Any]) -> None:
    """A run is a pure function: a replay gets the same answer, and takes the same fuel and memory."""
    assert run(kind, document(case)) == run(kind, document(case))


def test_every_kind_is_built_and_has_cases() -> None:
    """The package holds every step kind of this slice, each with cases, under its folder's name."""
    assert tuple(sorted(path.parent.name for path in SOURCES.glob("steps/*/cases.json"))) == KINDS
    for group in ("steps", "demo"):
        for path in SOURCES.glob(f"{group}/*/hook.toml"):
            assert tomllib.loads(path.read_text("utf-8"))["name"] == path.parent.name
            assert path.parent.name in hooks()


@pytest.mark.parametrize("kind", sorted(hooks()))
def test_exports_the_abi_and_imports_nothing(kind: str) -> None:
    """The exports are the four of the ABI, with their types, and memory begins with one page."""
    exports = {export.name: export.type for export in module(kind).exports}
    signatures = {
        name: ([str(p) for p in type_.params], [str(r) for r in type_.results])
        for name, type_ in exports.items()
        if isinstance(type_, FuncType)
    }
    memory = exports.pop("memory")
    assert isinstance(memory, MemoryType)
    assert memory.limits.min == 1
    assert signatures == {
        "mission_abi_v1": ([], []),
        "mission_alloc": (["i32"], ["i32"]),
        "mission_run": (["i32", "i32"], ["i64"]),
    }
    assert set(exports) == set(signatures)
    assert module(kind).imports == []


@pytest.mark.parametrize("kind", KINDS)
def test_modules_are_small(kind: str) -> None:
    """A module has at most 50 KB, so that compiling all of them delays the start by little."""
    assert len(hooks()[kind].module) <= 51_200


MALFORMED = [
    b"",
    b" ",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b"\x00" * 16,
    b"\xff\xfe",
    b'{"abi":1}',
    step("{}").replace(b'"abi":1', b'"abi":2'),
    step("{}").replace(b'"abi":1', b'"abi":1.0'),
    step("{}").replace(b'"abi":1', b'"abi":"1"'),
    step("{}").replace(b'"step",', b'"screen",'),
    step("[]"),
    step("null"),
    step("{}", "{}"),
    step("{}") + b" x",
    step("{}")[:-1],
    step('{"a":1,"a":2}'),
    step('{"a":"\\ud800"}'),
    step('{"a":"\\udc00\\ud800"}'),
    step('{"a":1e999}'),
    step('{"a":123456789012345678901234567890}'),
    step("[" * 200 + "]" * 200),
    b"[" * 100_000,
    b'{"":' * 100_000,
    b'"' * 100_001,
]
NOT_UTF8 = [
    b"\x80",
    b"\xc0\xaf",
    b"\xc3",
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",
    b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xe2\x82",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [*MALFORMED, *(step('{"a":"@"}').replace(b"@", text) for text in NOT_UTF8)], ids=repr)
def test_malformed_input_is_an_error_and_no_trap(kind: str, data: bytes) -> None:
    """Whatever the bytes are, the answer is a document; for what is no step document, it says so."""
    assert run(kind, data).document()["error"]["code"] == "abi.malformed_input"


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_the_abi_does_not_know_are_ignored(kind: str) -> None:
    """A later gateway may add members around the parameters; an old module answers as before."""
    plain = step('{"path":"a","content":"b","url":"u","ms":1}')
    extended = plain.replace(b'"abi":1', b'"trace":{"id":"x"},"abi":1').replace(b'"attempt":1', b'"attempt":1,"of":3')
    assert run(kind, extended).answer == run(kind, plain).answer


@pytest.mark.parametrize("kind", KINDS)
def test_white_space_does_not_matter(kind: str) -> None:
    """White space of JSON between tokens changes nothing."""
    spaced = b"\t\r\n " + step("{ }").replace(b":", b" :\n\t").replace(b"2026-01-01T00 :\n\t00 :\n\t00", b"x") + b" \n"
    assert run(kind, spaced).answer == run(kind, step("{}")).answer


WRITTEN = '{"ok":{"path":"a","bytes":1,"sha256":"00"}}'
TEXTS = {
    "ascii": "x" * 65_536,
    "lines": ("A line of prose, and another.\n" * 3_000)[:65_536],
    "newlines": "\n" * 65_536,
    "quotes": '"' * 65_536,
    "controls": "\x01" * 65_536,
    "ideographs": "漢" * 21_845,
    "emoji": "😀" * 16_384,
}


def create_file(text: str, profile: str) -> int:
    """Return the fuel of both rounds, once the content was seen to arrive byte for byte."""
    parameters = json.dumps({"path": "a", "content": text}, ensure_ascii=False)
    first = run("create_file", step(parameters), profile=profile)
    assert first.document()["effects"][0]["args"]["content"] == text
    second = run("create_file", step(parameters, f"[{WRITTEN}]"), profile=profile)
    assert "output" in second.document()
    return first.fuel + second.fuel


def read_json(text: str, profile: str) -> int:
    """Return the fuel of the round that parses, once the value was seen to be right; the first takes nearly none."""
    content = f'{{"ok":{{"path":"a","bytes":1,"sha256":"00","content":{json.dumps(text)}}}}}'
    ran = run("read_file", step('{"path":"a","format":"json"}', f"[{content}]"), profile=profile)
    assert ran.document()["output"]["content"] == json.loads(text)
    return ran.fuel


def exchange(text: str, profile: str) -> int:
    """Return the fuel of both rounds of http, with the JSON sent and received."""
    parameters = f'{{"url":"u","method":"POST","body":{text}}}'
    answer = f'{{"ok":{{"status":200,"headers":{{"content-type":"application/json"}},"body":{json.dumps(text)}}}}}'
    first = run("http", step(parameters), profile=profile)
    assert first.document()["effects"][0]["args"]["body"] == text
    second = run("http", step(parameters, f"[{answer}]"), profile=profile)
    assert second.document()["output"]["body"] == json.loads(text)
    return first.fuel + second.fuel


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_file_of_64_kib_fits_the_semantic_profile(text: str) -> None:
    """Both rounds of the costliest content together take at most half of the fuel, so that policy may narrow it."""
    assert create_file(text, "semantic") <= limits("create_file", "semantic").fuel_max // 2


def test_ordinary_values_fit_the_profile_wasm_too() -> None:
    """A text file of 64 KiB, and JSON of 8 KiB in either direction, fit a stricter profile than the kinds have."""
    records_ = json.dumps([{"id": n, "name": f"item {n}", "price": 1.5} for n in range(160)])
    assert 7_000 < len(records_) <= 8_192
    assert create_file(TEXTS["lines"], "wasm") <= limits("create_file", "wasm").fuel_max // 2
    assert read_json(records_, "wasm") <= limits("read_file", "wasm").fuel_max // 2
    assert exchange(records_, "wasm") <= limits("http", "wasm").fuel_max


JSON_TEXTS = {
    "ones": "[" + ",".join(["1"] * 32_767) + "]",
    "empty arrays": "[" + ",".join(["[]"] * 21_845) + "]",
    "names": json.dumps({f"{n:x}": 1 for n in range(6_500)}, separators=(",", ":")),
    "records": json.dumps([{"id": n, "name": f"item {n}", "price": 1.5} for n in range(1_350)]),
}


@pytest.mark.parametrize("text", JSON_TEXTS.values(), ids=JSON_TEXTS)
def test_json_of_64_kib_fits_the_semantic_profile(text: str) -> None:
    """Parsing the largest value that crosses takes at most half of the fuel, in read_file and in http."""
    assert len(text) <= 65_536
    assert read_json(text, "semantic") <= limits("read_file", "semantic").fuel_max // 2
    assert exchange(text, "semantic") <= limits("http", "semantic").fuel_max // 2


HEAVY = {
    "sort numbers": (list(range(12_000, 0, -1)), [{"op": "sort"}]),
    "sort strings": ([str(n * 7_919 % 10_007) for n in range(8_000)], [{"op": "sort", "descending": True}]),
    "unique ones": ([1] * 32_767, [{"op": "unique"}]),
    "unique strings": ([f"{n:x}" for n in range(8_000)], [{"op": "unique"}]),
    "merge": ({f"{n:x}": 1 for n in range(3_500)}, [{"op": "merge", "with": {f"{n:x}": 2 for n in range(3_500)}}]),
    "split and join": ("a," * 32_768, [{"op": "split", "separator": ","}, {"op": "join", "separator": ";"}]),
    "parse": (JSON_TEXTS["records"], [{"op": "parse_json"}, {"op": "map", "pointer": "/price"}, {"op": "sum"}]),
}


@pytest.mark.parametrize(("value", "operations"), HEAVY.values(), ids=HEAVY)
def test_operations_on_64_kib_fit_the_semantic_profile(value: Any, operations: list[Any]) -> None:
    """No operation on the largest value takes more than half of the fuel, or more than the memory."""
    parameters = json.dumps({"input": value, "operations": operations}, separators=(",", ":"))
    ran = run("transform", step(parameters), profile="semantic")
    assert "output" in ran.document()
    assert ran.fuel <= limits("transform", "semantic").fuel_max // 2


def test_an_output_beyond_the_memory_limit_is_reported_as_memory() -> None:
    """A string that cannot be held is the error `memory`, with the memory within a page of its limit."""
    value = ["x"] * 20_000
    parameters = json.dumps({"input": value, "operations": [{"op": "join", "separator": "y" * 4_096}]})
    ran = run("transform", step(parameters), profile="semantic")
    assert ran.document()["error"]["code"] == "memory"
    assert ran.memory_bytes > limits("transform", "semantic").memory_bytes_max - PAGE


def test_what_operations_make_is_bounded_in_depth() -> None:
    """Made values nest at most 128 deep with the answer around them, so no stack overflows, however they came about."""
    nested = json.loads("[" * 64 + "]" * 64)

    def answer(*depths: int) -> Any:
        operations = [{"op": "set", "pointer": "/0" * (depth - 1) + "/-", "value": nested} for depth in (64, *depths)]
        return run("transform", step(json.dumps({"input": nested, "operations": operations}))).document()

    assert "output" in answer(127)
    assert answer(128)["error"]["code"] == "output.too_deep"
    assert answer(128, 129)["error"]["code"] == "parameters.invalid"


@pytest.mark.parametrize("size", [1 << 31, (1 << 32) - 1, 1 << 30])
def test_room_that_there_cannot_be_is_not_promised(size: int) -> None:
    """An allocation beyond the limit answers 0, whatever its size; no address wraps round."""
    assert allocated("transform", size) == 0


def test_operations_are_documented_and_have_cases() -> None:
    """Every operation of the schema has a row in the docs and at least one case that names it."""
    schema = hooks()["transform"].schema
    names = json.loads(json.dumps(schema))["properties"]["operations"]["items"]["properties"]["op"]["enum"]
    docs = (SOURCES.parent / "docs" / "step-kinds.md").read_text("utf-8")
    tried = (SOURCES / "steps" / "transform" / "cases.json").read_text("utf-8").replace(" ", "").replace("\\", "")
    for name in names:
        assert f"`{name}" in docs
        assert f'"op":"{name}"' in tried


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_documented(kind: str) -> None:
    """Every kind has a section, and its row has its effects and its profile."""
    docs = (SOURCES.parent / "docs" / "step-kinds.md").read_text("utf-8")
    hook = hooks()[kind]
    [row] = [line for line in docs.splitlines() if line.startswith(f"| `{kind}` |") and f"`{hook.profile}`" in line]
    assert all(f"`{effect}`" in row for effect in hook.effects)
    assert f"## {kind}\n" in docs


def test_the_demonstration_spins_until_its_fuel_is_spent() -> None:
    """A module that never answers is ended by the fuel of its profile."""
    with pytest.raises(Trap, match="fuel"):
        run("spin", step("{}"))


def test_the_demonstration_hoards_until_its_memory_is_spent() -> None:
    """A module that takes all the memory of its profile reports it as the ABI says."""
    ran = run("hoard", step("{}"))
    assert ran.document()["error"]["code"] == "memory"
    assert ran.memory_bytes == limits("hoard").memory_bytes_max


def test_little_fuel_ends_a_run_anywhere() -> None:
    """However little fuel there is, a run ends with its answer or with a trap that says fuel; never with another."""
    data = step('{"input":[3,1,2],"operations":[{"op":"sort"}]}')
    full = run("transform", data)
    for fuel in range(1, full.fuel, max(1, full.fuel // 50)):
        try:
            assert run("transform", data, fuel_max=fuel).answer == full.answer
        except (Trap, WasmtimeError) as error:
            assert "fuel" in str(error)  # noqa: PT017 - both endings are right
    with pytest.raises((Trap, WasmtimeError), match="fuel"):
        run("transform", data, fuel_max=full.fuel // 2)
