"""The SDKs, compiled by their real toolchains: one list of inputs, and the same bytes for it from each."""

import json
from collections.abc import Iterator
from functools import cache

import pytest

from engine.constraints import ExecutionConstraints
from gateway.cli.hook.cases import SEED
from gateway.cli.hook.folder import Language
from gateway.errors import SandboxError
from gateway.sandbox.jail import compile_here
from gateway.sandbox.profile import profiles_from
from gateway.sandbox.runtime import Runtime
from gateway.sandbox.shape import read_shape
from tests.step_modules import step
from tests.toolchains import LANGUAGES, built_probe, environment, need

PROFILES = profiles_from({})
PLENTY = ExecutionConstraints(wall_ms_max=10_000, fuel_max=10**10, memory_bytes_max=16 * 1024 * 1024)
OK = '{"ok":{"slept_ms":%d}}'
OTHERS = tuple(language for language in LANGUAGES if language is not Language.ZIG)


@pytest.fixture(autouse=True)
def compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True, scope="module")
def unloaded() -> Iterator[None]:
    """Free the modules while the interpreter still can."""
    yield
    runtime.cache_clear()
    answer.cache_clear()


@cache
def runtime(language: Language) -> Runtime:
    """Return the probe of a language, loaded once."""
    need(language)
    return Runtime({"probe": compile_here(built_probe(language)).code})


@cache
def answer(language: Language, document: bytes) -> bytes:
    """Return what the probe of a language answers: asked once, as a run is a function of its input (see below)."""
    return runtime(language).run("probe", document, PLENTY).output


def parameters() -> Iterator[str]:
    """Yield parameters as text, right and wrong, that every SDK has to take in the same way."""
    yield from ("{}", '{"unknown":1}', '{"value":1,"unknown":1}', '{ "value" : [ 1 , {"a" : null } ] }')
    for text in (
        "",
        "a",
        "é漢😀",
        "\\u00e9\\ud83d\\ude00",
        '\\"\\\\\\/\\b\\f\\n\\r\\t',
        "\\u0000\\u001f\\u007f",
        "x" * 5_000,
    ):
        yield f'{{"text":"{text}","value":"{text}"}}'
        yield f'{{"fail":"{text.replace(chr(92) + "u0000", "")}"}}'
    for number in (
        *("0", "-0", "1", "1.0", "10e-1", "1E2", "-5", "1.5", "1e-3", "0.0", "1e18", "1e19", "123456789012345678"),
        *("9223372036854775807", "-9223372036854775808", "9223372036854775808", "-9223372036854775809"),
        *("1e308", "1.797693134862315807e308", "1.797693134862315808e308", "-1e309", "1e-400", "0e999999999999"),
        *("1e99999999999999999999", "0.1000000000000000000000000000001", "1.0000000000000000000000000000", "00", "01"),
        *("-", "+1", ".5", "1.", "1e", "1e+", "0x1", "NaN", "Infinity", "-Infinity", "1 2", "--1", "1_0"),
        *("9223372036854775807.0", "9223372036854775808.0", "92233720368547758070e-1", "0.000000000000000001e18"),
        "1" * 400,
    ):
        yield f'{{"number":{number}}}'
        yield f'{{"value":{number}}}'
    for word in ('"one"', '"two"', '"three"', '"\\u0074wo"', "1", "null", '""'):
        yield f'{{"word":{word}}}'
    for flag in ("true", "false", "null", "1", '"true"', "tru", "True"):
        yield f'{{"flag":{flag}}}'
    for items in ("[]", '["a"]', '["a","b","c"]', '["a","b","c","d"]', "[1]", '["a",null]', "{}", '"a"', '["\\u0041"]'):
        yield f'{{"list":{items}}}'
    for text in ("1", "[1,{}]", "", "{", '{\\"a\\":1,\\"a\\":2}', "[" * 64 + "]" * 64, "[" * 65 + "]" * 65, "\\ufeff1"):
        yield f'{{"parse":"{text}"}}'
    for depth in (0, 1, 64, 125, 126, 127, 128, 200, 201, -1):
        yield f'{{"nest":{depth}}}'


def names() -> Iterator[str]:
    """Yield objects whose names are many, alike or the same."""
    many = ",".join(f'"{n:x}":{n}' for n in range(500))
    yield f'{{"value":{{{many}}}}}'
    yield f'{{"value":{{{many},"1f3":0}}}}'
    yield f'{{"value":{{{many},"\\u0031f3":0}}}}'
    yield '{"value":{"a":1,"b":2,"a":3}}'
    yield '{"value":{"":1,"":2}}'
    yield '{"value":{"a":1,"\\u0061":2}}'
    yield '{"value":{"é":1,"e\\u0301":2}}'
    yield '{"value":1,"value":1}'


def malformed() -> Iterator[bytes]:
    """Yield inputs that are no document of a step."""
    whole = step('{"value":[1,"a",{"b":null}]}')
    yield from (whole[:length] for length in range(0, len(whole), 7))
    yield from (
        b"",
        b" ",
        b"null",
        b"[]",
        b"{}",
        b"\x00" * 16,
        b"\xff\xfe",
        b'"' * 5_000,
        b"[" * 20_000,
        b'{"":' * 20_000,
    )
    yield from (whole + b" x", whole + b"{}", b"\xef\xbb\xbf" + whole, whole + b"\x00", b"\x0b" + whole)
    for old, new in (
        (b'"abi":1', b'"abi":2'),
        (b'"abi":1', b'"abi":1.0'),
        (b'"abi":1', b'"abi":"1"'),
        (b'"abi":1', b'"abj":1'),
        (b'"step",', b'"screen",'),
        (b'"kind":"step"', b'"kind":1'),
        (b'"kind":"step"', b'"kinb":1'),
        (b'"parameters"', b'"parameterz"'),
        (b'"journal"', b'"journak"'),
        (b'"journal":[]', b'"journal":{}'),
    ):
        yield whole.replace(old, new)
    yield from (step(value) for value in ("[]", "null", "1", '"a"', "[" * 127 + "]" * 127, "[" * 128 + "]" * 128))
    for text in (
        "\\ud800",
        "\\udc00\\ud800",
        "\\ud800\\u0041",
        "\\ud83d\\ud83d",
        "\\u12",
        "\\u12g4",
        "\\x41",
        "\\",
        "\n",
        "\x1f",
    ):
        yield step(f'{{"value":"{text}"}}')
    for raw in (
        *(b"\x80", b"\xc0\xaf", b"\xc3", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xef\xbf\xbf", b"\xf0\x80\x80\x80"),
        *(b"\xf0\x9f\x98", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\x7f"),
    ):
        yield step('{"value":"@"}').replace(b"@", raw)
        yield step('{"@":1}').replace(b"@", raw)
        yield step('{"value":"12345678@12345678"}').replace(b"@", raw)


def journals() -> Iterator[bytes]:
    """Yield journals of one effect and of a batch, whole and broken, with a failure in each place."""
    for code in ("effect.path_busy", "effect.connect_failed", "effect.mission_failed", "effect.denied", "a\\u0062"):
        yield step("{}", f'[{{"error":{{"code":"{code}","message":"no"}}}}]')
        yield step('{"wait":2}', f'[{OK % 0},{{"error":{{"code":"{code}","message":"no"}}}}]')
    for entry in ('{"ok":1}', '{"ok":null}', "{}", "1", '{"error":1}', '{"error":{"code":1,"message":"a"}}'):
        yield step("{}", f"[{entry}]")
        yield step('{"wait":1}', f"[{entry}]")
    yield step("{}", '[{"error":{"message":"a"}}]')
    yield step("{}", '[{"error":{"code":"a","message":null}}]')
    yield step("{}", '[{"ok":1},{"ok":2}]')
    for done in range(4):
        yield step('{"wait":3}', f"[{','.join(OK % at for at in range(done))}]")
    yield step('{"wait":65}')
    yield step('{"wait":64}')


INPUTS = [*(step(text) for text in (*parameters(), *names())), *malformed(), *journals()]


@pytest.mark.parametrize("language", OTHERS)
def test_every_sdk_answers_as_the_one_in_zig_does(language: Language) -> None:
    """To the byte, for every input of the list, errors and their messages included; and none of them traps."""
    assert len(INPUTS) > 300
    for document in INPUTS:
        given = answer(language, document), document[:300]
        assert given == (answer(Language.ZIG, document), document[:300])


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_malformed_is_said_to_be(language: Language) -> None:
    """The error is `abi.malformed_input` for what is no document, or has no JSON that the gateway takes."""
    accepted = 0
    for document in malformed():
        found = json.loads(answer(language, document))
        if "output" in found or found["error"]["code"] != "abi.malformed_input":
            accepted += 1
            document.decode()  # what is accepted is UTF-8
            json.loads(document)  # and JSON
    assert accepted == 9  # noncharacters, U+10FFFF and DEL are text, as a value and, unknown, as a name


@pytest.mark.parametrize("language", LANGUAGES)
def test_values_cross_unchanged(language: Language) -> None:
    """What is only moved keeps its bytes: digits, escapes and white space."""
    value = '[ 1.50, 1E+2 ,"\\u00e9\\/", {"a" :null} ,-0.0,0.1000000000000000055511151231257827]'
    found = answer(language, step(f'{{"value":{value}}}'))
    assert found == f'{{"output":{{"value":{value},"word":"one"}}}}'.encode()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_batch_of_effects_and_its_outcomes(language: Language) -> None:
    """A step asks for three effects at once, and finds their outcomes in order."""
    asked = json.loads(answer(language, step('{"wait":3}')))
    assert asked == {"effects": [{"op": "timer.sleep", "args": {"ms": n}} for n in range(3)]}
    told = json.loads(answer(language, step('{"wait":3}', f"[{OK % 0},{OK % 1},{OK % 2}]")))
    assert told["output"]["wait"] == [{"slept_ms": n} for n in range(3)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_modules_import_nothing_and_begin_small(language: Language) -> None:
    """Of the ABI alone, one page of memory, and at most 50 KB."""
    need(language)
    module = built_probe(language)
    shape = read_shape(module)
    assert shape.violation() is None
    assert shape.imports == ()
    own = {"__data_end", "__heap_base"} if language is Language.RUST else set()  # what rustc always exports
    assert set(shape.exports) - own <= {"memory", "mission_abi_v1", "mission_alloc", "mission_run", "_initialize"}
    assert shape.memory_bytes_min == 65_536
    assert len(module) <= 51_200


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("profile", ["fast", "wasm"])
def test_ordinary_documents_fit_the_small_profiles(language: Language, profile: str) -> None:
    """2 KB in the profile `fast`, 16 KB in `wasm`, each with at most half of the fuel and the memory."""
    need(language)
    items = 40 if profile == "fast" else 320
    value = json.dumps([{"id": n, "name": f"item {n}", "price": 1.5} for n in range(items)])
    limits = PROFILES[profile]
    report = runtime(language).run("probe", step(f'{{"value":{value}}}'), limits)
    assert json.loads(report.output)["output"]["value"] == json.loads(value)
    assert report.fuel_used <= limits.fuel_max // 2
    assert report.memory_bytes <= limits.memory_bytes_max // 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_memory_that_there_is_not_is_told_as_such(language: Language) -> None:
    """A document that does not fit the memory ends as the memory limit, whatever the language does about it."""
    value = "[" + ",".join(["1"] * 60_000) + "]"
    limits = PLENTY.narrow_by({"memory_bytes_max": 1024 * 1024})
    with pytest.raises(SandboxError) as caught:
        runtime(language).run("probe", step(f'{{"value":{value}}}'), limits)
    assert caught.value.code == "constraint.memory_exceeded"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_is_a_function_of_its_input(language: Language) -> None:
    """The same bytes for the same fuel, twice."""
    document = step(f'{{"value":"{SEED}","text":"a"}}')
    first, second = (runtime(language).run("probe", document, PLENTY) for _ in range(2))
    assert (first.output, first.fuel_used) == (second.output, second.fuel_used)
