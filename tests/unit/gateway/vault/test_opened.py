"""Values while an effect is performed: put in place, checked against policy's data once more, wiped."""

from collections.abc import Mapping

import pytest

from gateway.effects.headers import request_fields
from gateway.effects.target import HttpTarget
from gateway.errors import EffectError, SecretError
from gateway.vault.opened import EffectSecrets, OpenedSecrets
from gateway.vault.placement import BodyForm, body_form
from gateway.vault.rules import SecretRule

HANDLE = "mgsecret_" + "a" * 64
OTHER = "mgsecret_" + "b" * 64
RULE = SecretRule(
    effects=frozenset({"http.request"}),
    hosts=frozenset({"api.example.com"}),
    kinds=frozenset({"http"}),
    tenants=frozenset({"acme"}),
)
TARGET = HttpTarget.parse("https://api.example.com/")


class Values:
    """A vault of prepared values, which remembers the buffers that it has given out."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = values
        self.given: list[bytearray] = []

    def value(self, tenant: str, name: str) -> bytearray:
        if (value := self._values.get(f"{tenant}/{name}")) is None:
            raise SecretError("there is no such secret", code="secret.unknown")
        self.given.append(bytearray(value))
        return self.given[-1]


def secrets(values: Values, **changes: object) -> EffectSecrets:
    fields = {"values": values, "tenant": "acme", "kind": "http", "handles": {HANDLE: "A"}, "rules": {"A": RULE}}
    return EffectSecrets(**{**fields, **changes})  # type: ignore[arg-type]


async def test_values_are_there_for_one_act_and_wiped_after_it() -> None:
    """Also where the act fails."""
    values = Values({"acme/A": b"the value"})
    async with secrets(values).opened("http.request", "api.example.com") as opened:
        assert opened.in_header(f"Bearer {HANDLE}") == b"Bearer the value"
    with pytest.raises(RuntimeError):  # noqa: PT012 - the block is the claim
        async with secrets(values).opened("http.request", "api.example.com") as opened:
            assert await opened.mask(b"<the value>") == b"<[secret:A]>"
            raise RuntimeError
    assert len(values.given) == 2
    assert not any(any(buffer) for buffer in values.given)
    assert "the value" not in repr(opened)


@pytest.mark.parametrize(
    ("op", "host", "changes"),
    [
        ("file.write", "api.example.com", {}),
        ("http.request", "api.example.com.evil.example", {}),
        ("http.request", "api.example.com", {"tenant": "other"}),
        ("http.request", "api.example.com", {"kind": "other"}),
        ("http.request", "api.example.com", {"rules": {}}),
    ],
)
async def test_the_host_asks_policys_data_once_more(op: str, host: str, changes: dict[str, object]) -> None:
    """A decision that let through what the data closes opens nothing; no value is even read."""
    values = Values({"acme/A": b"the value", "other/A": b"another value"})
    with pytest.raises(EffectError) as refused:
        async with secrets(values, **changes).opened(op, host):
            pass
    assert (refused.value.code, refused.value.violation) == ("effect.secret_closed", True)
    assert values.given == []


async def test_a_secret_that_is_gone_fails_the_effect() -> None:
    """With what was opened before it wiped."""
    values = Values({"acme/A": b"the value"})
    both = secrets(values, handles={HANDLE: "A", OTHER: "B"}, rules={"A": RULE, "B": RULE})
    with pytest.raises(EffectError) as refused:
        async with both.opened("http.request", "api.example.com"):
            pass
    assert refused.value.code == "effect.secret_unavailable"
    assert not any(values.given[0])


@pytest.mark.parametrize(
    ("form", "value", "sent"),
    [
        (BodyForm.RAW, b'a"b\\c d&e', b'a"b\\c d&e'),
        (BodyForm.JSON, b'a"b\\c d&e', b'a\\"b\\\\c d&e'),
        (BodyForm.FORM, b'a"b\\c d&e', b"a%22b%5Cc%20d%26e"),
        (BodyForm.RAW, b"\xff\xfe\xfd\xfc", b"\xff\xfe\xfd\xfc"),
    ],
)
def test_a_value_is_written_as_the_body_wants_it(form: BodyForm, value: bytes, sent: bytes) -> None:
    """So that it cannot end the string, or the field, that it stands in."""
    opened = OpenedSecrets({HANDLE: "A"}, {"A": bytearray(value)})
    assert opened.in_body(f"<{HANDLE}é>", form) == b"<" + sent + "é>".encode()


def test_json_takes_no_bytes_that_are_no_text() -> None:
    """They would be another value there."""
    with pytest.raises(EffectError) as refused:
        OpenedSecrets({HANDLE: "A"}, {"A": bytearray(b"\xff" * 9)}).in_body(f'"{HANDLE}"', BodyForm.JSON)
    assert refused.value.code == "effect.secret_not_text"
    assert refused.value.__suppress_context__


def test_a_header_takes_no_value_that_a_field_cannot_have() -> None:
    """What was set as a secret is checked as what a guest gives is, and the message names the field only."""
    opened = OpenedSecrets({HANDLE: "A"}, {"A": bytearray("naïve value".encode())})
    with pytest.raises(EffectError) as refused:
        request_fields({"x-a": HANDLE}, TARGET, key="0" * 64, body_bytes=None, secrets=opened)
    assert refused.value.code == "effect.header_refused"
    assert "value" not in refused.value.message.replace("'x-a'", "")


@pytest.mark.parametrize(
    ("body", "headers", "form"),
    [
        ('{"a": 1}', {}, BodyForm.JSON),
        ("plain", {}, BodyForm.RAW),
        ('{"a": 1, "a": 2}', {}, BodyForm.RAW),
        ("a=b", {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, BodyForm.FORM),
        ("plain", {"content-type": "application/problem+json"}, BodyForm.JSON),
        ('{"a": 1}', {"content-type": "text/plain"}, BodyForm.JSON),
    ],
)
def test_the_form_of_a_body(body: str, headers: dict[str, str], form: BodyForm) -> None:
    """By its media type; otherwise it is JSON where it can be read as such."""
    assert body_form(body, headers) is form
