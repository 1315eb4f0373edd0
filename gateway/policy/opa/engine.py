"""OPA as engine: the same bundle, loaded by OPA's own bundle plugin, and every answer held against its revision.

    start:   1 put the archive where OPA takes it   2 wait until OPA reports the revision   3 compare, byte for byte
    decide:  1 ask   2 is it an answer of the bundle   3 is it a decision

Whatever goes wrong is a deny; nothing but a decision of the expected bundle is a yes.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

from gateway.errors import PolicyInvalidError, PolicyUnavailableError
from gateway.policy.bundle import Bundle
from gateway.policy.decision import ANSWER_BYTES_MAX, Decision, denied, parse_decision
from gateway.policy.engine import Entrypoint, rule_of
from gateway.policy.opa.contents import DifferenceError, compare_policies, data_parts, same
from gateway.policy.opa.expected import Expectation
from gateway.policy.opa.export import bundle_archive, exported, put_archive, read_archive
from gateway.policy.opa.reply import PROVENANCE_BYTES_MAX, Reply, ReplyError, read_reply
from gateway.policy.opa.server import OpaError, OpaServer
from gateway.policy.pool import DEADLINES_MS

ACTIVATION_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_CONTROL_MS: Final = 10_000.0  # one request of `start`
_CONTENTS_BYTES_MAX: Final = 128 * 1024 * 1024  # OPA sends each policy with its syntax tree, ten times its size
_REPLY_BYTES_MAX: Final = ANSWER_BYTES_MAX + PROVENANCE_BYTES_MAX
_NOTHING: Final = "/v1/data/missiongate/no_such_rule?provenance=true"  # undefined: only the bundle's revision is asked
_MISMATCH: Final = "policy.bundle_mismatch"


class OpaPolicy:
    """Answers from one bundle, evaluated by an OPA that has loaded it. A new bundle is a new `OpaPolicy`."""

    def __init__(
        self,
        bundle: Bundle,
        server: OpaServer,
        *,
        files: Mapping[str, bytes],
        deadlines_ms: Mapping[Entrypoint, int] = DEADLINES_MS,
        export: Path | None = None,
        activation_seconds: float = ACTIVATION_SECONDS,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            bundle: what is expected of OPA.
            server: may be shared by the engines of successive bundles, and is closed by its owner.
            files: all files of the bundle's source, byte for byte: what is exported, tests aside.
            deadlines_ms: of a whole decision, every try included.
            export: where OPA takes the bundle from; None: from its source, without us.
            activation_seconds: how long `start` waits for OPA.
        """
        self._bundle = bundle
        self._server = server
        self._files = files
        self._deadlines_ms = {**DEADLINES_MS, **deadlines_ms}
        self._export = export
        self._activation_seconds = activation_seconds
        self._expectation: Expectation | None = None

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers."""
        return self._bundle.digest

    async def start(self) -> None:
        """Give OPA the bundle; return once it has it, byte for byte. After an error OPA is given what it had before.

        Raises:
            PolicyInvalidError: `policy.bad_manifest`, the bundle has no revision, or one that another bundle in force
                has; `policy.bundle_mismatch`, what OPA has is not this bundle.
            PolicyUnavailableError: OPA cannot be asked, or the archive cannot be written.
        """
        revision = self._bundle.revision
        if not revision:
            message = "OPA reports bundles by their revision, and this one has none"
            raise PolicyInvalidError(message, code="policy.bad_manifest", file=".manifest")
        await self.close()
        try:
            expectation = self._expectation = self._server.expected.add(revision, self.digest)
        except ValueError as error:
            raise PolicyInvalidError(str(error), code="policy.bad_manifest", file=".manifest") from error
        previous = self._put_archive()
        try:
            await self._wait_for_bundle()
        except BaseException:
            await self.close()
            self._put_back(previous)
            raise
        self._server.expected.found(expectation)

    async def close(self) -> None:
        """Take no answer of this bundle any more; the server goes on, and so do decisions that are under way."""
        if self._expectation is not None:
            self._server.expected.remove(self._expectation)
            self._expectation = None

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document; whatever goes wrong is a deny (`PolicyEngine.decide`)."""
        deadline_ms = self._deadlines_ms[entrypoint]
        began = asyncio.get_running_loop().time()
        try:
            orjson.loads(document)  # what is no JSON could end our wrapping, and put another input behind itself
        except orjson.JSONDecodeError:
            return self._denied("policy.failed", f"{rule_of(entrypoint)} could not be evaluated: the input is not JSON")
        try:
            answer = await self._server.ask(
                "POST",
                f"/v1/data/gateway/{entrypoint}/decision?provenance=true",
                b'{"input":' + document + b"}",
                bytes_max=_REPLY_BYTES_MAX,
                deadline_ms=deadline_ms,
            )
            reply = read_reply(answer.status, answer.body)
        except (OpaError, ReplyError) as error:
            return self._denied(error.code, str(error))
        except Exception as error:  # noqa: BLE001 - fail closed: whatever it was, it is a no
            return self._denied("policy.unavailable", f"OPA could not be asked ({type(error).__name__})")
        ends = began + deadline_ms / 1e3
        return self._accepted(reply, entrypoint, await self._bundle_of(reply, ends))

    async def _bundle_of(self, reply: Reply, ends: float) -> str | None:
        """Return the digest of the bundle that answered; None: none that is expected and has been compared."""
        if reply.revision is None:
            return None
        try:
            async with asyncio.timeout_at(ends):
                return await self._server.expected.digest_of(reply.revision)
        except TimeoutError:
            return None

    def _accepted(self, reply: Reply, entrypoint: Entrypoint, digest: str | None) -> Decision:
        if digest is None:
            has = ", ".join(repr(revision[:64]) for revision in reply.revisions[:4]) or "none"
            message = f"OPA answers from another bundle: expected the revision {self._bundle.revision!r}, it has {has}"
            return self._denied(_MISMATCH, message)
        if not reply.defined:
            message = f"{rule_of(entrypoint)} is undefined for this input: no rule answered"
            return denied("policy.undefined", message, bundle=digest)
        return parse_decision(orjson.dumps(reply.value), bundle=digest)

    def _denied(self, code: str, message: str) -> Decision:
        return denied(code, message, bundle=self.digest)

    def _put_archive(self) -> bytes | None:
        """Put the bundle where OPA takes it; return what was there."""
        if self._export is None:
            return None
        try:
            previous = read_archive(self._export)
            put_archive(self._export, bundle_archive(exported(self._files)))
        except OSError as error:
            message = f"{self._export}: {error.strerror or 'cannot be written'}"
            raise PolicyUnavailableError(f"the bundle cannot be given to OPA: {message}") from error
        return previous

    def _put_back(self, previous: bytes | None) -> None:
        """Undo `_put_archive`; where that fails, OPA goes on to have a bundle of which no answer is taken."""
        if self._export is not None:
            try:
                put_archive(self._export, previous)
            except OSError as error:
                message = f"{self._export}: {error.strerror or 'cannot be written'}"
                raise PolicyUnavailableError(f"OPA cannot be given its bundle back: {message}") from error

    async def _wait_for_bundle(self) -> None:
        """Ask until OPA has the bundle, and nothing else."""
        why: Exception = OpaError("policy.timeout", "OPA gave no answer")
        try:
            async with asyncio.timeout(self._activation_seconds):
                while True:
                    try:
                        return await self._compare()
                    except (OpaError, ReplyError, DifferenceError) as error:
                        why = error
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            within = f"within {self._activation_seconds:g} s"
            if isinstance(why, OpaError):
                raise PolicyUnavailableError(f"OPA did not report the bundle {within}: {why}") from why
            raise PolicyInvalidError(f"OPA did not load this bundle {within}: {why}", code=_MISMATCH) from why

    async def _compare(self) -> None:
        """Return if OPA has this bundle; the revision is asked for with every part, so that no two are mixed."""
        await self._get(_NOTHING)
        modules = {module.path: module.text for module in self._bundle.modules}
        tests = {
            name: data.decode("utf-8", "replace") for name, data in self._files.items() if name.endswith("_test.rego")
        }
        answer = await self._server.ask("GET", "/v1/policies", bytes_max=_CONTENTS_BYTES_MAX, deadline_ms=_CONTROL_MS)
        if answer.status != 200:  # noqa: PLR2004 - HTTP's OK
            read_reply(answer.status, answer.body)  # raises
        packages = compare_policies(answer.body, modules, tests)
        for path, value in data_parts(self._bundle.document, packages):
            reply = await self._get(f"/v1/data/{path}?provenance=true")
            if not reply.defined or not same(reply.value, value):
                raise DifferenceError(f"the data at {path} is another one")
        await self._get(_NOTHING)

    async def _get(self, path: str) -> Reply:
        answer = await self._server.ask("GET", path, bytes_max=_CONTENTS_BYTES_MAX, deadline_ms=_CONTROL_MS)
        reply = read_reply(answer.status, answer.body)
        if reply.revision != self._bundle.revision:
            has = ", ".join(repr(revision[:64]) for revision in reply.revisions[:4]) or "no bundle"
            raise DifferenceError(f"it has {has}, and not {self._bundle.revision!r}")
        return reply
