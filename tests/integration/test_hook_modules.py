"""The screens, rewrites and observers of the package: each against its cases, and within its profile."""

import json
from typing import Any

import pytest

from gateway.sandbox.abi_hooks import frame
from tests.step_modules import SOURCES, hooks, limits, run

GROUPS = {"screens": "screen", "rewrites": "rewrite", "observers": "observe"}
PLACED = sorted(
    path.parent.name for group in GROUPS for path in SOURCES.glob(f"{group}/*/hook.toml")
)  # what there are sources of


def cases() -> list[Any]:
    return [
        pytest.param(path.parent.name, case, id=f"{path.parent.name}: {case['name']}")
        for group in GROUPS
        for path in sorted(SOURCES.glob(f"{group}/*/cases.json"))
        for case in json.loads(path.read_text("utf-8"))
    ]


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def framed(name: str, document: str, settings: Any = None) -> bytes:
    """Return an input as the host writes it."""
    hook = hooks()[name]
    given = {"now": "2026-01-01T00:00:00.000000Z", "seed": "00112233445566778899aabbccddeeff"}
    # The host's documents are never empty; a case's may be.
    text = document if document != "{}" else '{"version":1}'
    return frame(text.encode(), kind=hook.kind, at=hook.at or "", settings=compact(settings or {}).encode(), **given)


def inputs(name: str, case: dict[str, Any]) -> bytes:
    return framed(name, case.get("document_text") or compact(case["document"]), case.get("settings"))


@pytest.mark.parametrize(("name", "case"), cases())
def test_answers_as_its_cases_say(name: str, case: dict[str, Any]) -> None:
    """A module answers each case as written beside it, and the same again for the same fuel."""
    ran = run(name, inputs(name, case))
    if "expect_text" in case:
        assert ran.answer.decode() == case["expect_text"]
    else:
        assert ran.document() == case["expect"]
    assert run(name, inputs(name, case)) == ran


def test_every_one_is_built_has_cases_and_a_row_in_the_documents() -> None:
    """What is shipped is there under its folder's name, of the kind of its folder, and explained."""
    document = (SOURCES.parent / "docs" / "screens.md").read_text("utf-8")
    assert PLACED
    for group, kind in GROUPS.items():
        for path in SOURCES.glob(f"{group}/*"):
            assert hooks()[path.name].kind == kind
            assert (path / "cases.json").is_file()
            assert f"| `{path.name}` |" in document
            assert len(hooks()[path.name].module) <= 51_200


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"null", b"[]", b"{}", b'{"abi":2}', b"[" * 100_000], ids=repr)
def test_malformed_input_is_an_error_and_no_trap(name: str, data: bytes) -> None:
    """Whatever the bytes are, the answer is a document; for what is none of the ABI's, it says so."""
    assert run(name, data).document()["error"]["code"] == "abi.malformed_input"


@pytest.mark.parametrize("name", PLACED)
def test_a_document_of_another_kind_or_place_is_refused(name: str) -> None:
    """A step's document, and one of a place where no hook of the kind stands."""
    whole = framed(name, '{"step":{},"output":1,"mission":{},"parameters":{}}')
    kind = hooks()[name].kind.encode()
    step = whole.replace(b'"kind":"' + kind, b'"kind":"step')
    assert run(name, step).document()["error"]["code"] == "abi.malformed_input"
    if name != "no_private_key_material":  # it looks at the text, wherever that stands
        nowhere = whole.replace(b'"at":"', b'"at":"nowhere_')
        assert run(name, nowhere).document()["error"]["code"] == "abi.malformed_input"


@pytest.mark.parametrize("text", ["x" * 65_536, "B" * 65_536, "-----B" * 10_922, "-----BEGIN " * 5_957, "漢" * 21_845])
def test_a_key_is_found_behind_64_kib_of_anything(text: str) -> None:
    """Also in the text that costs most, so that nobody can hide one behind a limit."""
    document = compact({"parameters": {"content": text + "-----BEGIN PRIVATE KEY-----"}})
    ran = run("no_private_key_material", framed("no_private_key_material", document))
    assert ran.document()["verdict"] == "deny"
    assert ran.fuel <= limits("no_private_key_material").fuel_max * 3 // 4


def test_fields_are_dropped_from_64_kib_within_half_of_the_fuel() -> None:
    """And from as deep as an output may be."""
    wide = compact([{"id": n, "name": f"item {n}", "token": "x"} for n in range(1_350)])
    settings = {"fields": [f"field{n}" for n in range(63)] + ["token"]}
    ran = run("drop_output_fields", framed("drop_output_fields", f'{{"step":{{}},"output":{wide}}}', settings))
    assert "token" not in ran.answer.decode()
    assert ran.fuel <= limits("drop_output_fields").fuel_max // 2
    deep = '{"a":' * 120 + '{"token":1}' + "}" * 120
    ran = run("drop_output_fields", framed("drop_output_fields", f'{{"step":{{}},"output":{deep}}}', settings))
    assert ran.answer.decode() == '{"output":' + deep.replace('{"token":1}', "{}") + "}"
