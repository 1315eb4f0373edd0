"""The connection to an OPA: tries, deadlines and the breaker, in time that the test owns."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine.breaker import BreakerState
from gateway.policy.opa.client import Answer, Client, GarbageError, TransportError
from gateway.policy.opa.server import BREAKER, OpaError, OpaServer
from gateway.policy.opa.settings import OpaSettings
from tests import virtual_time
from tests.virtual_time import LoopClock

OK = Answer(200, b"{}")
Fetch = Callable[[], Awaitable[Answer]]


def server(fetch: Fetch, *, retries: int = 2) -> OpaServer:
    """Return a server whose requests end as `fetch` does."""

    async def fetched(*_: Any) -> Answer:
        return await fetch()

    made = OpaServer(OpaSettings(retries=retries), clock=LoopClock(), chance=lambda: 1.0)
    made._client.fetch = fetched  # type: ignore[method-assign]
    return made


async def ask(asked: OpaServer, *, deadline_ms: float = 1_000) -> Answer | str:
    """Return the answer, or the code of the failure."""
    try:
        return await asked.ask("GET", "/", bytes_max=10, deadline_ms=deadline_ms)
    except OpaError as error:
        return error.code


class Script:
    """Ends each request with the next of its endings; the last one goes on."""

    def __init__(self, *endings: Answer | Exception | float) -> None:
        self._endings = list(endings)
        self.asked: list[float] = []

    async def __call__(self) -> Answer:
        self.asked.append(asyncio.get_running_loop().time())
        ending = self._endings.pop(0) if len(self._endings) > 1 else self._endings[0]
        if isinstance(ending, Exception):
            raise ending
        if isinstance(ending, float):
            await asyncio.sleep(ending)
            return OK
        return ending


LOST = TransportError("lost")


def test_what_may_pass_is_tried_again_with_growing_pauses() -> None:
    """At most `retries` times more; the pause doubles."""

    async def main() -> None:
        script = Script(LOST, Answer(503, b""), OK)
        assert await ask(server(script)) == OK
        assert script.asked == pytest.approx([0.0, 0.02, 0.06])
        script = Script(LOST)
        assert await ask(server(script, retries=1)) == "policy.unavailable"
        assert len(script.asked) == 2

    virtual_time.run(main())


@pytest.mark.parametrize(("ending", "code"), [(GarbageError("no"), "policy.malformed"), (9.0, "policy.timeout")])
def test_what_would_not_change_is_not_tried_again(ending: Exception | float, code: str) -> None:
    """Garbage, and an answer that does not come."""

    async def main() -> None:
        script = Script(ending)
        assert await ask(server(script)) == code
        assert len(script.asked) == 1

    virtual_time.run(main())


def test_all_tries_have_one_deadline() -> None:
    """A slow failure leaves no time for another try: it is the failure that is told, at the deadline."""

    async def main() -> None:
        asked = server(Script(LOST), retries=10)
        assert await ask(asked, deadline_ms=100) == "policy.unavailable"
        assert asyncio.get_running_loop().time() == pytest.approx(0.1)

    virtual_time.run(main())


def test_the_breaker_opens_lets_one_probe_through_and_closes() -> None:
    """Five failures; then nobody is asked for a second; then one, and when it is answered everybody."""

    async def main() -> None:
        script = Script(*[LOST] * 5, 0.5)
        asked = server(script, retries=0)
        for _ in range(5):
            assert await ask(asked) == "policy.unavailable"
        assert asked.state is BreakerState.OPEN
        assert await ask(asked) == "policy.unavailable"
        assert len(script.asked) == 5
        await asyncio.sleep(BREAKER.open_seconds)
        assert await asyncio.gather(ask(asked), ask(asked), ask(asked)) == [OK, *["policy.unavailable"] * 2]
        assert len(script.asked) == 6
        assert asked.state is BreakerState.CLOSED
        assert await asyncio.gather(ask(asked), ask(asked)) == [OK, OK]

    virtual_time.run(main())


def test_a_timeout_opens_the_breaker_only_where_nobody_is_answered() -> None:
    """A document that a policy is slow with is that document's affair."""

    async def main(*, others: bool) -> list[Answer | str]:
        asked = server(Script(*[5.0, OK] * 9) if others else Script(5.0))
        slow = []
        for _ in range(6):
            task = asyncio.create_task(ask(asked))
            await asyncio.sleep(0.1)
            if others:
                assert await ask(asked) == OK
            slow.append(await task)
        return slow

    assert virtual_time.run(main(others=True)) == ["policy.timeout"] * 6
    assert virtual_time.run(main(others=False)) == [*["policy.timeout"] * 5, "policy.unavailable"]


def test_a_cancelled_request_says_nothing_of_the_server() -> None:
    """However many callers hang up."""

    async def main() -> None:
        asked = server(Script(9.0))
        for _ in range(6):
            task = asyncio.create_task(ask(asked, deadline_ms=60_000))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert asked.state is BreakerState.CLOSED

    virtual_time.run(main())


async def test_two_bundles_of_one_revision_cannot_be_claimed() -> None:
    """Their answers could not be told apart; the same bundle may be claimed twice."""
    asked = server(Script(OK))
    assert asked.claim("r1", "a")
    assert asked.claim("r1", "a")
    assert not asked.claim("r1", "b")
    asked.release("r1", "a")
    assert not asked.claim("r1", "b")
    asked.release("r1", "a")
    assert asked.claim("r1", "b")


def test_the_private_names_of_the_client_library_are_there() -> None:
    """A new version of opa-python-client that has others is found out here."""
    names = ("_init_session", "_request", "close_connection")
    parent = Client.__mro__[1]
    assert parent.__module__ == "opa_client.opa_async"
    assert [name for name in names if not callable(getattr(parent, name, None))] == []
    made = parent(retries=0, token="t", headers={"A": "b"})  # noqa: S106 - none
    assert (made._session, made._connector, made.retries) == (None, None, 0)
    assert made.headers == {"A": "b", "Authorization": "Bearer t"}
