"""The values of the secrets of one effect, while it is performed: put in place of handles, taken out of answers.

A value is read when the effect is about to be performed, and its buffer is wiped when it has been. The copies that the
request itself is made of are Python's and the network's, and are not reached (docs/secrets.md).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import quote_from_bytes

from gateway.errors import EffectError, SecretError
from gateway.vault.masking import Forms, forms_to_mask, without
from gateway.vault.names import HANDLE
from gateway.vault.placement import BodyForm, Handles
from gateway.vault.rules import SecretRule
from gateway.vault.sealing import wipe

_THREAD_BYTES: Final = 256 * 1024  # masking more than that takes milliseconds, which belong to no event loop


class Values(Protocol):
    """Where values are; `gateway.vault.reader.VaultReader` is one."""

    def value(self, tenant: str, name: str) -> bytearray:
        """Return a value, in a buffer that the caller wipes. May block."""


class OpenedSecrets:
    """Values by handle. Of an effect without secrets it holds none, and changes nothing."""

    __slots__ = ("_by_handle", "_forms", "_names")

    def __init__(self, handles: Handles, values: Mapping[str, bytearray]) -> None:
        self._by_handle = {handle: values[name] for handle, name in handles.items() if name in values}
        self._names = dict(values)
        self._forms: Forms | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._names)

    def __repr__(self) -> str:
        return f"OpenedSecrets({sorted(self._names)})"

    def in_header(self, value: str) -> bytes:
        """Return a header's value with secrets in place of their handles; the performer checks what it has become."""
        return self._filled(value, BodyForm.RAW)

    def in_body(self, body: str, form: BodyForm) -> bytes:
        """Return a body with secrets in place of their handles, written as the body's form wants them.

        Raises:
            EffectError: `effect.secret_not_text`, JSON cannot hold these bytes.
        """
        return self._filled(body, form)

    async def mask(self, data: bytes) -> bytes:
        """Return what came back without any of the values."""
        if not self._names:
            return data
        if self._forms is None:
            self._forms = await asyncio.to_thread(forms_to_mask, self._names)
        if len(data) <= _THREAD_BYTES:
            return without(data, self._forms)
        return await asyncio.to_thread(without, data, self._forms)

    def _filled(self, text: str, form: BodyForm) -> bytes:
        raw = text.encode("utf-8")
        if not self._by_handle:
            return raw
        parts: list[bytes] = []
        done = 0
        for match in HANDLE.finditer(text):  # handles are ASCII, and so found at the same places in what is encoded
            value = self._by_handle.get(match.group())
            if value is None:
                raise EffectError("a handle has no value", code="effect.secret_foreign")
            parts += [text[done : match.start()].encode("utf-8"), _written(value, form)]
            done = match.end()
        return b"".join([*parts, text[done:].encode("utf-8")])


NOTHING_OPENED: Final = OpenedSecrets({}, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectSecrets:
    """What one effect may open: its handles and the rules of policy's data. By default nothing."""

    values: Values | None = None
    tenant: str = ""
    kind: str = ""
    handles: Handles = field(default_factory=dict)  # of those that stand in the effect's arguments
    rules: Mapping[str, SecretRule] = field(default_factory=dict)

    @asynccontextmanager
    async def opened(self, op: str, host: str) -> AsyncIterator[OpenedSecrets]:
        """Open them for one act towards one host, and wipe them at its end.

        Raises:
            EffectError: `effect.secret_closed`, policy's data does not open one to this; `effect.secret_unavailable`.
        """
        if not self.handles:
            yield NOTHING_OPENED
            return
        values: dict[str, bytearray] = {}
        try:
            for name in sorted(set(self.handles.values())):
                values[name] = await self._value(name, op, host)
            yield OpenedSecrets(self.handles, values)
        finally:
            for value in values.values():
                wipe(value)

    async def _value(self, name: str, op: str, host: str) -> bytearray:
        rule = self.rules.get(name)
        if rule is None or not rule.opens(tenant=self.tenant, kind=self.kind, op=op, host=host):
            message = f"policy does not open the secret {name} to {op} towards {host}"
            raise EffectError(message, code="effect.secret_closed", violation=True)
        if self.values is None:
            raise EffectError("this gateway keeps no secrets", code="effect.secret_unavailable")
        try:
            return await asyncio.to_thread(self.values.value, self.tenant, name)
        except SecretError as error:
            raise EffectError(f"{error.code}: {error.message}", code="effect.secret_unavailable") from error


NO_EFFECT_SECRETS: Final = EffectSecrets()


def _written(value: bytearray, form: BodyForm) -> bytes:
    match form:
        case BodyForm.RAW:
            return bytes(value)
        case BodyForm.FORM:
            return quote_from_bytes(bytes(value), safe="").encode("ascii")
        case BodyForm.JSON:
            return json.dumps(_text(value), ensure_ascii=False)[1:-1].encode("utf-8")


def _text(value: bytearray) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        message = "JSON cannot hold the bytes of this secret, which are not UTF-8"
        raise EffectError(message, code="effect.secret_not_text") from None
