import pytest

from engine.errors import Violation
from engine.values import JsonObject
from gateway.addresses import AddressPolicy
from gateway.errors import HookRefusedError
from gateway.sanitizer import ParameterLimits, ParameterSchema
from gateway.sanitizer.placement import place
from gateway.sanitizer.schema import VIOLATIONS_MAX, field_path

WRITE: JsonObject = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["path", "content"],
    "properties": {
        "path": {"type": "string", "x-type": "path"},
        "content": {"type": "string", "x-type": "text", "maxLength": 100},
        "mode": {"enum": ["create", "replace"]},
        "retries": {"type": "integer", "minimum": 0, "maximum": 5},
    },
}
REQUEST: JsonObject = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "x-type": "url"},
        "headers": {
            "type": "object",
            "propertyNames": {"x-type": "header_name"},
            "additionalProperties": {"type": "string", "x-type": "header"},
        },
        "argv": {
            "type": "array",
            "prefixItems": [{"type": "string", "x-type": "path"}],
            "items": {"type": "string", "x-type": "argv"},
        },
        "body": {"anyOf": [{"type": "string", "x-type": "text"}, {"type": "object"}]},
        "tree": {"$ref": "#/$defs/node"},
    },
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "x-type": "identifier"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
        }
    },
}


def is_reference(text: str) -> bool:
    return "${" in text


def found(schema: JsonObject, document: JsonObject, *, pending: bool = False) -> dict[str, str]:
    """Return code by field."""
    compiled = ParameterSchema.compile(schema)
    violations = compiled.check(document, field="steps[2].parameters", pending=is_reference if pending else None)
    return {v.field: v.code for v in violations}


def test_a_good_document_has_no_violations() -> None:
    """What keeps every rule passes."""
    assert found(WRITE, {"path": "a/b.txt", "content": "x\n", "mode": "create", "retries": 5}) == {}


def test_every_violation_names_its_field_and_rule() -> None:
    """All violations of a document are told at once, each at its own field."""
    assert found(WRITE, {"path": "../a", "content": 3, "mode": "append", "retries": 9, "paht": 1, "x y": 2}) == {
        "steps[2].parameters.path": "sanitize.path.traversal",
        "steps[2].parameters.content": "schema.type",
        "steps[2].parameters.mode": "schema.enum",
        "steps[2].parameters.retries": "schema.maximum",
        "steps[2].parameters.paht": "schema.additionalProperties",
        'steps[2].parameters["x y"]': "schema.additionalProperties",
    }


def test_a_missing_parameter_is_named() -> None:
    """The field of a missing member is the member, not its parent."""
    assert found(WRITE, {"path": "a"}) == {"steps[2].parameters.content": "schema.required"}


def test_types_apply_wherever_the_schema_puts_them() -> None:
    """Members, other members, keys, elements, branches and references carry types to their strings."""
    document: JsonObject = {
        "url": "http://127.0.0.1/",
        "headers": {"a b": "x", "x-id": "a\r\nb"},
        "argv": ["/bin/sh", "a;b", "ok"],
        "body": "a\x00b",
        "tree": {"name": "a b", "children": [{"name": "ok"}, {"children": [{"name": "c d"}]}]},
    }
    assert found(REQUEST, document) == {
        "steps[2].parameters.url": "sanitize.url.address",
        'steps[2].parameters.headers["a b"]': "sanitize.header_name.token",
        'steps[2].parameters.headers["x-id"]': "sanitize.header.line_break",
        "steps[2].parameters.argv[0]": "sanitize.path.absolute",
        "steps[2].parameters.argv[1]": "sanitize.argv.characters",
        "steps[2].parameters.body": "sanitize.text.control",
        "steps[2].parameters.tree.name": "sanitize.identifier.characters",
        "steps[2].parameters.tree.children[1].children[0].name": "sanitize.identifier.characters",
    }


def test_limits_are_told_apart_from_malformed_values() -> None:
    """A value that is only too much has the kind `limit`."""
    compiled = ParameterSchema.compile(WRITE)
    kinds = {
        v.code: v.kind for v in compiled.check({"path": "x" * 300, "content": "x" * 101, "retries": -1}, field="p")
    }
    assert kinds == {
        "sanitize.path.segment_too_long": "limit",
        "schema.maxLength": "limit",
        "schema.minimum": "malformed",
    }


def test_a_reference_that_is_not_resolved_waits() -> None:
    """A pending leaf passes whatever its type, its neighbours do not, and resolved values are checked in full."""
    document: JsonObject = {
        "path": "${variables.p}/../x",
        "content": "a\x00",
        "mode": "${variables.m}",
        "retries": "${variables.n}",
    }
    assert found(WRITE, document, pending=True) == {"steps[2].parameters.content": "sanitize.text.control"}
    assert set(found(WRITE, document).values()) == {
        "sanitize.path.traversal",
        "sanitize.text.control",
        "schema.enum",
        "schema.type",
    }


def test_a_container_waits_only_where_a_reference_inside_it_decides() -> None:
    """`anyOf` over a pending member waits; an unknown member beside it does not."""
    schema: JsonObject = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"n": {}, "list": {"type": "array", "uniqueItems": True}},
        "anyOf": [{"properties": {"n": {"type": "integer"}}}],
    }
    assert found(schema, {"n": "${variables.n}", "list": ["${variables.a}", "${variables.a}"]}, pending=True) == {}
    assert found(schema, {"n": "x"}, pending=True) == {"steps[2].parameters": "schema.anyOf"}
    assert found(schema, {"n": "${variables.n}", "y": 1}, pending=True) == {
        "steps[2].parameters.y": "schema.additionalProperties"
    }


def test_a_pending_key_does_not_wait() -> None:
    """Keys are never resolved, so a reference in a key is judged as it stands."""
    assert found(REQUEST, {"headers": {"${variables.x}": "y"}}, pending=True) == {
        'steps[2].parameters.headers["${variables.x}"]': "sanitize.header_name.token"
    }


def test_the_address_policy_is_the_schemas() -> None:
    """A schema checks urls under the policy that it was compiled with."""
    document: JsonObject = {"url": "http://127.0.0.1:8080/"}
    strict = ParameterSchema.compile(REQUEST)
    policy = AddressPolicy.parse(["127.0.0.1:8080"])
    assert strict.check(document, field="p") != ()
    assert ParameterSchema.compile(REQUEST, addresses=policy).check(document, field="p") == ()


def test_messages_do_not_repeat_values_or_names() -> None:
    """Neither a value nor a client's key is in a message, and a field path is plain ASCII."""
    compiled = ParameterSchema.compile(
        {
            "type": "object",
            "propertyNames": {"maxLength": 8},
            "additionalProperties": {"type": "string", "pattern": "^a+$", "maxLength": 9},
        }
    )
    violations = compiled.check({"k\u202e": "hunter2hunter2", "\x1b[31mlongkey": "b"}, field="p")
    assert len(violations) >= 3
    for violation in violations:
        assert "hunter2" not in violation.message
        assert violation.message.isprintable()
        assert violation.field.isascii()
        assert violation.field.isprintable()


def test_the_number_of_violations_is_bounded() -> None:
    """A document with a thousand faults gets a bounded answer."""
    schema: JsonObject = {"type": "array", "items": {"type": "string", "x-type": "argv"}}
    compiled = ParameterSchema.compile({"type": "object", "properties": {"a": schema}})
    assert len(compiled.check({"a": ["$"] * 1_000}, field="p")) == VIOLATIONS_MAX
    assert len(compiled.check({"a": [1] * 1_000}, field="p")) == VIOLATIONS_MAX


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        ({"a": "\ud800"}, "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        ({"a": float("nan")}, "not_json"),
        ({"a": float("inf")}, "not_json"),
        ({"a": 1 << 63}, "not_json"),
        ({"a": b"x"}, "not_json"),
        ({"a": {1: 2}}, "key"),
        ({"a": ["x"] * 1_001}, "too_many_values"),
        ({"a": "x" * 10_000}, "too_large"),
        ({"k" * 65: 1}, "key_too_long"),
    ],
)
def test_what_is_no_bounded_json_is_refused_first(document: JsonObject, rule: str) -> None:
    """Bounds and well-formedness are settled before any rule looks at a value."""
    limits = ParameterLimits(bytes_max=9_000, values_max=1_000, key_chars_max=64)
    (violation,) = ParameterSchema.compile({"type": "object"}, limits=limits).check(document, field="p")
    assert isinstance(violation, Violation)
    assert (violation.code, violation.field) == (f"sanitize.parameters.{rule}", "p")


def test_depth_is_bounded_without_recursion() -> None:
    """A document nested a hundred thousand levels deep is refused, and costs no stack."""
    deep: dict[str, object] = {}
    at = deep
    for _ in range(100_000):
        below: dict[str, object] = {}
        at["a"] = below
        at = below
    try:
        (violation,) = ParameterSchema.compile({"type": "object"}).check(deep, field="p")  # type: ignore[arg-type]
        assert violation.code == "sanitize.parameters.too_deep"
    finally:
        while deep:  # unlink level by level, since freeing a nested dict recurses
            deep = deep.pop("a", {})  # type: ignore[assignment]


def test_exactly_the_greatest_depth_passes() -> None:
    """The bound is a maximum: that many levels pass, one more does not."""
    compiled = ParameterSchema.compile({"type": "object"}, limits=ParameterLimits(nesting_max=3))
    assert compiled.check({"a": {"b": {}}}, field="p") == ()
    assert compiled.check({"a": {"b": {"c": {}}}}, field="p") != ()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"$ref": "http://example.com/schema"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#/properties/a"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$id": "http://example.com/"},
        {"$dynamicRef": "#x"},
        {"format": "uri"},
        {"maxLenght": 3},
        {"type": "string"},
        {"type": ["string", "null"]},
        {"properties": {"a": {"type": "string", "pattern": "^a$"}}},
        {"properties": {"a": {"type": "string", "x-type": "txet"}}},
        {"properties": {"a": {"x-type": "text"}}},
        {"not": {"properties": {"a": {"type": "string", "x-type": "text"}}}},
        {"if": {"type": "string", "x-type": "text"}},
        {"patternProperties": {"^a": {"type": "string", "x-type": "text"}}},
        {"anyOf": [{"type": "string", "x-type": "text"}, {"type": "string", "x-type": "url"}]},
        {"pattern": "(?=a)b", "maxLength": 5},
        {"pattern": "(a)\\1", "maxLength": 5},
        {"pattern": "(a{1000}){1000}", "maxLength": 5},
        {"properties": {"a": 3}},
        {"properties": {"a": {"$defs": {}}}},
        {"description": "x" * 300_000},
    ],
)
def test_a_schema_that_could_surprise_is_refused(schema: JsonObject) -> None:
    """Remote references, misspelt keywords, unbounded strings, backtracking and ambiguous types do not compile."""
    with pytest.raises(HookRefusedError) as refused:
        ParameterSchema.compile(schema)
    assert refused.value.code == "schema.invalid"


def test_a_pattern_runs_in_linear_time() -> None:
    """The pattern that stops a backtracking engine is nothing here."""
    compiled = ParameterSchema.compile(
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$", "maxLength": 1_000_000}}}
    )
    (violation,) = compiled.check({"a": "a" * 100_000 + "!"}, field="p")
    assert violation.code == "schema.pattern"


def test_a_schema_is_copied() -> None:
    """Changing the caller's schema afterwards changes nothing."""
    schema: dict[str, object] = {"type": "object", "properties": {"a": {"type": "string", "x-type": "path"}}}
    compiled = ParameterSchema.compile(schema)  # type: ignore[arg-type]
    schema["properties"] = {}
    assert compiled.check({"a": "/x"}, field="p") != ()


def test_a_recursive_schema_that_consumes_nothing_compiles_to_an_end() -> None:
    """Definitions that refer to each other in place are followed once."""
    schema: JsonObject = {
        "properties": {"a": {"$ref": "#/$defs/x"}},
        "$defs": {"x": {"allOf": [{"$ref": "#/$defs/y"}]}, "y": {"type": "string", "x-type": "path"}},
    }
    assert found(schema, {"a": "/x"}) == {"steps[2].parameters.a": "sanitize.path.absolute"}


@pytest.mark.parametrize(
    ("path", "field"),
    [((), "p"), (("a", 0, "b_1"), "p.a[0].b_1"), (("a b", 'q"'), 'p["a b"]["q\\""]'), (("\u202e",), 'p["\\u202e"]')],
)
def test_field_paths_are_plain(path: tuple[str | int, ...], field: str) -> None:
    """Members are dotted where they are plain names, and quoted in ASCII where not."""
    assert field_path("p", path) == field


def test_documents_are_not_walked_where_nothing_has_a_type() -> None:
    """Places below which no string has a type are forgotten when the schema is compiled."""
    root = place(
        {"properties": {"a": {"properties": {"b": {"type": "integer"}}}, "c": {"type": "string", "x-type": "path"}}}
    )
    assert root.members["a"] is None
    assert root.members["c"] is not None
    assert root.other_members is None
    assert root.other_elements is None
