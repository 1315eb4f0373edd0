"""What type checkers see of both clients: `make check` has mypy look at this; nobody runs it."""

from collections.abc import AsyncGenerator, Generator
from typing import assert_type

from gateway.client import (
    Approval,
    AsyncClient,
    Client,
    DecisionChange,
    EventQuery,
    Hook,
    LoggedEvent,
    Mission,
    MissionEvent,
    MissionResult,
    PublishedBundle,
    ReplaySummary,
    StepResult,
    Submission,
)


def blocking(client: Client) -> None:
    """Values, and generators of values."""
    assert_type(client.submit("name: m", "r"), Submission)
    assert_type(client.get("m", document=True), Mission)
    assert_type(client.wait("m"), MissionResult)
    assert_type(client.watch("m", from_index=3), Generator[MissionEvent, None, None])
    assert_type(client.missions(), Generator[Mission, None, None])
    assert_type(client.hooks.rollback("h"), Hook | None)
    assert_type(client.audit.events(EventQuery()), Generator[LoggedEvent, None, None])
    assert_type(client.policy.replay("b"), Generator[DecisionChange | ReplaySummary, None, None])
    assert_type(client.having(deadline_seconds=1).policy.publish(b""), PublishedBundle)
    client.get(3)  # type: ignore[arg-type]
    client.cancel()  # type: ignore[call-arg]
    client.decide_approval("m", "a", verdict=True, digest="d")  # type: ignore[call-arg]


async def asynchronous(client: AsyncClient) -> None:
    """The same, to be waited for."""
    assert_type(await client.submit({"name": "m"}), Submission)
    assert_type(await client.get("m"), Mission)
    assert_type(await client.wait("m"), MissionResult)
    assert_type(client.results("m", follow=True), AsyncGenerator[StepResult, None])
    assert_type(client.hooks.all_hooks(), AsyncGenerator[Hook, None])
    assert_type(await client.decide_approval("m", "a", approve=True, digest="d"), Approval)
    assert_type([event.index async for event in client.watch("m")], list[int])
    await client.get(3)  # type: ignore[arg-type]
    async with client as same:
        assert_type(same, AsyncClient)
