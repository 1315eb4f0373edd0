import pytest

from gateway.addresses import AddressPolicy
from gateway.errors import SanitizationError
from gateway.sanitizer import CHECKS, check_value


def code_of(type_name: str, value: str, addresses: AddressPolicy | None = None) -> str | None:
    try:
        check_value(type_name, value, addresses=addresses or AddressPolicy())
    except SanitizationError as err:
        return err.code
    return None


@pytest.mark.parametrize(
    ("type_name", "value", "rule"),
    [
        ("argv", "", "empty"),
        ("argv", "a b", "characters"),
        ("argv", "$IFS", "characters"),
        ("argv", "%0Aid", "characters"),
        ("argv", "~root", "characters"),
        ("argv", "*.py", "characters"),
        ("argv", "a\n", "characters"),
        ("argv", "\u00e9", "characters"),
        ("argv", "a" * 4_097, "too_long"),
        ("header", "a\r\nSet-Cookie: x", "line_break"),
        ("header", "a\x00", "line_break"),
        ("header", "%0d%0aSet-Cookie: x", "line_break"),
        ("header", "%250a", "line_break"),
        ("header", "%u000a", "line_break"),
        ("header", "0x0D0x0A", "line_break"),
        ("header", "%5cr%5cn", "line_break"),
        ("header", "a\\u000d\\u000aSet-Cookie: x", "line_break"),
        ("header", "a\\x0D\\x0ASet-Cookie: x", "line_break"),
        ("header", "a\\015\\012Set-Cookie: x", "line_break"),
        ("header", "a&#13;&#10;Set-Cookie: x", "line_break"),
        ("header", "a&#x0d;&#xA;Set-Cookie: x", "line_break"),
        ("header", "a%26%2313;%26%2310;", "line_break"),
        ("header", "%E5%98%8A%E5%98%8DSet-Cookie: x", "line_break"),
        ("header", "%c4%8d%c4%8aSet-Cookie: x", "line_break"),
        ("header", "\u00e9", "characters"),
        ("header", "a\x7f", "characters"),
        ("header", " a", "space"),
        ("header", "a\t", "space"),
        ("header", "%" + "25" * 20, "encoding_depth"),
        ("header", "a" * 8_193, "too_long"),
        ("header_name", "", "token"),
        ("header_name", ":path", "token"),
        ("header_name", "X Y", "token"),
        ("header_name", "X\n", "token"),
        ("header_name", "a" * 257, "too_long"),
        ("host", "localhost", "single_label"),
        ("host", "127.0.0.1", "address"),
        ("host", "::1", "address"),
        ("host", "[::1]", "host_name"),
        ("host", "example.com:80", "host_name"),
        ("host", "example.com/", "host_name"),
        ("host", "user@example.com", "host_name"),
        ("host", "\ud800.com", "idna"),
        ("host", "1:" * 200, "host_too_long"),
        ("identifier", "", "empty"),
        ("identifier", "-rf", "characters"),
        ("identifier", ".hidden", "characters"),
        ("identifier", "a..b", "characters"),
        ("identifier", "a/b", "characters"),
        ("identifier", "a b", "characters"),
        ("identifier", "a\n", "characters"),
        ("identifier", "a" * 257, "too_long"),
        ("identifier", "\u0301a", "characters"),
        ("identifier", "\u1d00dmin", "characters"),
        ("identifier", "adm\u026an", "characters"),
        ("identifier", "\u0640", "characters"),
        ("identifier", "gr\u00f6\u00dfe!", "characters"),
        ("identifier", "p\u0430ypal", "mixed_script"),
        ("identifier", "\uff41dmin", "normalization"),
        ("identifier", "\u03b1\u0322\u0322\u0322\u0322\u0322", "marks"),
        ("identifier", "ad\u200bmin", "invisible"),
        ("identifier", "a\ud800", "surrogate"),
        ("secret", "hunter2", "literal"),
        ("secret", "${secrets.A}x", "literal"),
        ("secret", "${secrets.A}\n", "literal"),
        ("secret", "${variables.A}", "literal"),
        ("json", "", "syntax"),
        ("json", "{", "syntax"),
        ("json", '{"a":1,"a":2}', "duplicate_key"),
        ("json", "[NaN]", "number"),
        ("json", "[1e999]", "number"),
        ("json", "[9223372036854775808]", "number"),
        ("json", "[" + "9" * 5_000 + "]", "number"),
        ("json", '"\\ud800"', "syntax"),
        ("json", '"\ud800"', "syntax"),
        ("json", "[" * 65 + "]" * 65, "too_deep"),
        ("json", "[" * 100_000, "too_deep"),
        ("json", '"' + "x" * 1024 * 1024 + '"', "too_long"),
    ],
)
def test_what_breaks_a_types_rule_is_refused_by_that_rule(type_name: str, value: str, rule: str) -> None:
    """Each rule of each type has its stable code."""
    assert code_of(type_name, value) == f"sanitize.{type_name}.{rule}"


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("argv", "--upload-pack=x"),
        ("argv", "-"),
        ("argv", "ghcr.io/a/b:1.0@sha256:0f"),
        ("header", ""),
        ("header", 'attachment; filename="a\\"b.txt"'),
        ("header", '{"path":"a\\nb"}'),
        ("header", "0x0D"),
        ("header", "https://example.com/?q=a%20b"),
        ("header_name", "X-Request-Id"),
        ("host", "example.com"),
        ("host", "8.8.8.8"),
        ("host", "2606:4700:4700::1111"),
        ("host", "m\u00fcnchen.de"),
        ("identifier", "step_1.build-x"),
        ("identifier", "__proto__"),
        ("identifier", "gr\u00f6\u00dfe"),
        ("identifier", "\u0440\u0430\u0437\u043c\u0435\u0440"),
        ("identifier", "\u6771\u4eac\u30bf\u30ef\u30fc\u306e"),
        ("identifier", "\ud55c\uad6d\u6f22"),
        ("identifier", "\u0645\u062d\u0645\u062f1"),
        ("identifier", "\u0939\u093f\u0928\u094d\u0926\u0940"),
        ("secret", "${secrets.API_KEY}"),
        ("json", ' {"a":[1,2.5,"x",null,true,{}]} '),
        ("json", '"\\ud83d\\ude00"'),
        ("json", '"[[[["'),
        ("json", "[" * 64 + "]" * 64),
        ("json", "-9223372036854775808"),
        ("text", "'; DROP TABLE users; --"),
        ("text", ""),
    ],
)
def test_honest_values_of_each_type_are_accepted(type_name: str, value: str) -> None:
    """What the rule of a type allows arrives."""
    assert code_of(type_name, value) is None


def test_a_type_that_does_not_exist_is_refused() -> None:
    """A misspelt type fails closed."""
    assert code_of("txet", "x") == "sanitize.unknown_type"


def test_a_host_is_open_where_policy_opens_any_port_of_it() -> None:
    """A host has no port yet, so a name or network that policy opens at some port passes; the effect has the port."""
    policy = AddressPolicy.parse(["127.0.0.1:8080", "localhost:8080"])
    assert code_of("host", "127.0.0.1", policy) is None
    assert code_of("host", "localhost", policy) is None
    assert code_of("host", "127.0.0.2", policy) == "sanitize.host.address"


@pytest.mark.parametrize("type_name", sorted(CHECKS))
@pytest.mark.parametrize("value", ["\x1b[31msecret\x1b[0m", "hunter2\u202e", "\ud800", "/..%00\\"])
def test_a_message_never_repeats_the_value(type_name: str, value: str) -> None:
    """What is refused may be a secret or drive a terminal, so no message holds it."""
    with pytest.raises(SanitizationError) as refused:
        check_value(type_name, value if type_name != "text" else f"\x00{value}")
    assert value not in refused.value.violations[0].message
    assert refused.value.violations[0].message.isprintable()


@pytest.mark.parametrize("value", ['"' * 200_000, '"' + '\\"' * 300_000, "[" * 400_000, '{"a":' * 100_000])
def test_hostile_json_is_refused_quickly(value: str) -> None:
    """Unclosed strings and deep nesting cost one pass, not a square and not the stack."""
    assert code_of("json", value) in {"sanitize.json.syntax", "sanitize.json.too_deep"}
