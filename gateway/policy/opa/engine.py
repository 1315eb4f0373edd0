"""OPA as engine: the same bundle, loaded by OPA itself, and every answer held against its revision.

    start:   1 put the archive where OPA takes it   2 wait until OPA reports the revision   3 compare, byte for byte
    later:   3 again and again: a revision is a name, and a later bundle may have it too
    decide:  1 ask   2 is it an answer of the bundle   3 is it a decision

Whatever goes wrong is a deny; nothing but a decision of the bundle is a yes. An OPA swaps its bundle moments before
`start` of the new engine returns: what the old engine is asked meanwhile is `policy.bundle_mismatch`, upon which
`gateway.rulebook` waits for the change, and asks the new one.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

from engine.breaker import BreakerState
from gateway.detached import Detached
from gateway.errors import PolicyInvalidError, PolicyUnavailableError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import write_archive
from gateway.policy.bundle_parts import MANIFEST
from gateway.policy.decision import ANSWER_BYTES_MAX, Decision, denied, parse_decision
from gateway.policy.engine import Entrypoint, rule_of
from gateway.policy.opa.contents import DifferenceError, OtherRevisionError, compare
from gateway.policy.opa.export import exported, put, read_if_there
from gateway.policy.opa.reply import PROVENANCE_BYTES_MAX, Reply, ReplyError, read_reply
from gateway.policy.opa.server import OpaError, OpaServer
from gateway.policy.pool import DEADLINES_MS

ACTIVATION_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 30.0  # between two comparisons of what is in force
_SURE_SECONDS: Final = 1.0  # after which a difference is looked at once more: a reload may have been under way
_COMPARE_SECONDS_MAX: Final = 5.0  # between two looks at contents that were others
_REPLY_BYTES_MAX: Final = ANSWER_BYTES_MAX + PROVENANCE_BYTES_MAX
_MISMATCH: Final = "policy.bundle_mismatch"

_LOG: Final = logging.getLogger(__name__)


class OpaPolicy:
    """Answers from one bundle, evaluated by an OPA that has loaded it. A new bundle is a new `OpaPolicy`."""

    def __init__(
        self,
        bundle: Bundle,
        server: OpaServer,
        *,
        deadlines_ms: Mapping[Entrypoint, int] = DEADLINES_MS,
        export: Path | None = None,
        activation_seconds: float = ACTIVATION_SECONDS,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            bundle: what is expected of OPA.
            server: may be shared by the engines of successive bundles, and is closed by its owner.
            deadlines_ms: of a whole decision, every try included.
            export: where OPA takes the bundle from; None: from its source, without us.
            activation_seconds: how long `start` waits for OPA.
        """
        self._bundle = bundle
        self._server = server
        self._deadlines_ms = {**DEADLINES_MS, **deadlines_ms}
        self._export = export
        self._activation_seconds = activation_seconds
        self._writing = Detached()
        self._open = False  # OPA has been seen to have the bundle, and nobody has closed this
        self._differs = ""  # how what OPA has now differs from it, for all that it calls itself the same
        self._watching: asyncio.Task[None] | None = None

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers."""
        return self._bundle.digest

    @property
    def pids(self) -> tuple[int, ...]:
        """None: OPA is nobody's worker."""
        return ()

    @property
    def able(self) -> bool:
        """Whether OPA is spoken to, and has the bundle as far as we know."""
        return self._open and not self._differs and self._server.state is not BreakerState.OPEN

    async def turn(self) -> None:
        """Return at once: what waits inside of OPA is not known."""

    async def start(self) -> None:
        """Give OPA the bundle; return once it has it, byte for byte. After an error OPA is given what it had before.

        Raises:
            PolicyInvalidError: `policy.bad_manifest`, the bundle has no revision, or one that another bundle in force
                has; `policy.bundle_mismatch`, what OPA has is not this bundle.
            PolicyUnavailableError: OPA cannot be asked, or the archive cannot be written.
        """
        if self._open:
            return
        if not self._bundle.revision:
            message = "OPA names bundles by their revision, and this one has none"
            raise PolicyInvalidError(message, code="policy.bad_manifest", file=MANIFEST)
        if not self._server.claim(self._bundle.revision, self.digest):
            message = f"another bundle of the revision {self._bundle.revision!r} is in force: give each one of its own"
            raise PolicyInvalidError(message, code="policy.bad_manifest", file=MANIFEST)
        try:
            await self._activate()
        except BaseException:
            self._server.release(self._bundle.revision, self.digest)
            raise
        self._open = True
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Take no answer of this bundle any more; the server goes on."""
        if self._open:
            self._open = False
            self._server.release(self._bundle.revision, self.digest)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document; whatever goes wrong is a deny (`PolicyEngine.decide`)."""
        try:
            orjson.loads(document)  # what is no JSON could end our wrapping, and put another input behind itself
        except orjson.JSONDecodeError:
            return self._denied("policy.failed", f"{rule_of(entrypoint)} could not be evaluated: the input is not JSON")
        try:
            answer = await self._server.ask(  # (1)
                "POST",
                f"/v1/data/gateway/{entrypoint}/decision?provenance=true",
                b'{"input":' + document + b"}",
                bytes_max=_REPLY_BYTES_MAX,
                deadline_ms=self._deadlines_ms[entrypoint],
            )
            reply = read_reply(answer.status, answer.body)
        except (OpaError, ReplyError) as error:
            return self._denied(error.code, str(error))
        except Exception as error:  # noqa: BLE001 - fail closed: whatever it was, it is a no
            return self._denied("policy.unavailable", f"OPA could not be asked ({type(error).__name__})")
        return self._decision(entrypoint, reply)

    def _decision(self, entrypoint: Entrypoint, reply: Reply) -> Decision:
        if not self._open or not reply.is_of(self._bundle.revision):  # (2)
            message = f"OPA answers from another bundle: expected is {self._bundle.revision!r}, it has {reply.has}"
            return self._denied(_MISMATCH, message)
        if self._differs:
            return self._denied(_MISMATCH, f"OPA answers from another bundle of the same revision: {self._differs}")
        if not reply.defined:
            message = f"{rule_of(entrypoint)} is undefined for this input: no rule answered"
            return self._denied("policy.undefined", message)
        return parse_decision(orjson.dumps(reply.value), bundle=self.digest, entrypoint=entrypoint)  # (3)

    async def _watch(self) -> None:
        """Compare what OPA has for as long as this is open; nothing is taken from it while that is something else."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                difference = await self._difference()
            except (OpaError, ReplyError, OtherRevisionError):  # nothing was seen, and each answer says so by itself
                continue
            except Exception as error:  # noqa: BLE001 - fail closed: what cannot be compared is not the same
                difference = type(error).__name__
            if difference != self._differs:
                _LOG.error("the bundle %s in OPA: %s", self._bundle.revision, difference or "as it should be again")
            self._differs = difference

    async def _difference(self) -> str:
        """Return how OPA's bundle differs, if it does so twice: a reload may be under way; "" where it does not."""
        difference = ""
        for pause_seconds in (_SURE_SECONDS, 0.0):
            try:
                await compare(self._bundle, self._server)
            except OtherRevisionError:
                raise
            except DifferenceError as error:
                difference = str(error)
            else:
                return ""
            await asyncio.sleep(pause_seconds)
        return difference

    def _denied(self, code: str, message: str) -> Decision:
        return denied(code, message, bundle=self.digest)

    async def _activate(self) -> None:
        """Put the archive in place and wait for OPA; on an error, put back what was there."""
        if self._export is None:
            await self._wait_for_bundle()
            return
        try:
            archive = await asyncio.to_thread(write_archive, exported(self._bundle.files))
            previous = await asyncio.to_thread(read_if_there, self._export)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            await self._put(archive)
            await self._wait_for_bundle()
        except BaseException:
            await self._writing.settled()  # a write that was cancelled goes on, and must not come last
            await self._put(previous)
            raise

    async def _put(self, archive: bytes | None) -> None:
        if self._export is not None:
            try:
                await self._writing.run(asyncio.to_thread(put, self._export, archive))
            except OSError as error:
                raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> PolicyUnavailableError:
        return PolicyUnavailableError(f"OPA cannot be given the bundle: {self._export}: {error.strerror or error}")

    async def _wait_for_bundle(self) -> None:
        """Ask until OPA has the bundle, and nothing else."""
        why: Exception = OpaError("policy.timeout", "OPA gave no answer")
        pause_seconds = _POLL_SECONDS
        try:
            async with asyncio.timeout(self._activation_seconds):
                while True:
                    try:
                        return await compare(self._bundle, self._server)
                    except (OpaError, ReplyError, OtherRevisionError) as error:
                        why = error
                    except DifferenceError as error:  # found by parsing megabytes, in which nobody else is served
                        why, pause_seconds = error, min(2 * pause_seconds, _COMPARE_SECONDS_MAX)
                    await asyncio.sleep(pause_seconds)
        except TimeoutError:
            within = f"within {self._activation_seconds:g} s"
            if isinstance(why, OpaError):
                raise PolicyUnavailableError(f"OPA did not report the bundle {within}: {why}") from why
            raise PolicyInvalidError(f"OPA did not load the bundle {within}: {why}", code=_MISMATCH) from why
