"""`Client` and `AsyncClient`: the same methods, blocking and on an event loop."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Self

from gateway.client.asynchronous import Asynchronous
from gateway.client.blocking import Blocking
from gateway.client.failures import unreadable
from gateway.client.hook_methods import HookMethods
from gateway.client.log_methods import LogMethods
from gateway.client.mission_methods import MissionMethods
from gateway.client.missions import Mission, MissionResult
from gateway.client.patience import CallOptions, Deadline, Retry, Retrying
from gateway.client.people_methods import PeopleMethods
from gateway.client.policy_methods import PolicyMethods
from gateway.client.server import Server
from gateway.client.statistics_methods import StatisticsMethods

NO_EVENT: Final = 2**62
"""An index that no mission's events reach: a watch from there on gives nothing but the mission's end."""

_DEFAULTS: Final = CallOptions()


class Client(MissionMethods[Blocking]):
    """A gateway, for threads, which may share it; every method raises CallError where its call fails.

    What is not about missions is in `hooks`, `policy`, `audit`, `people` and `statistics`. Use it as a context manager.
    """

    def __init__(self, server: Server, options: CallOptions = _DEFAULTS, *, driver: Blocking | None = None) -> None:
        """Prepare; the first call dials. A `driver` is taken instead of a new one, with its own options."""
        super().__init__(driver or Blocking.to(server, options))
        self.hooks = HookMethods(self.driver)
        self.policy = PolicyMethods(self.driver)
        self.audit = LogMethods(self.driver)
        self.people = PeopleMethods(self.driver)
        self.statistics = StatisticsMethods(self.driver)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel, which is that of the clients which `having` made, too."""
        self.driver.close()

    def having(
        self,
        *,
        traceparent: str | None = None,
        deadline_seconds: float | None = None,
        retry: Retry | None = None,
        on_retry: Callable[[Retrying], None] | None = None,
    ) -> "Client":
        """Return a client over the same channel with other options; what is left out stays as it is."""
        return self._with(_changed(self.driver.options, traceparent, deadline_seconds, retry, on_retry))

    def wait(self, mission_id: str) -> MissionResult:
        """Return the result of a mission, once it has ended.

        Raises:
            CallError: a call failed; LateCallError where the deadline of the options is over first.
        """
        deadline = Deadline(self.driver.options, self.driver.clock)
        while True:
            mission = self._with(deadline.options()).get(mission_id)
            if mission.ended_at is not None:
                return _result_of(mission, self.driver.server)
            for _ in self._with(deadline.options()).watch(mission_id, NO_EVENT):
                pass

    def _with(self, options: CallOptions) -> "Client":
        return Client(self.driver.server, driver=self.driver.having(options))


class AsyncClient(MissionMethods[Asynchronous]):
    """A gateway, for tasks of one event loop; every method raises CallError where its call fails.

    As `Client`, with coroutines and asynchronous generators. Make it where the loop runs, and use it as an
    asynchronous context manager.
    """

    def __init__(self, server: Server, options: CallOptions = _DEFAULTS, *, driver: Asynchronous | None = None) -> None:
        """Prepare; the first call dials. A `driver` is taken instead of a new one, with its own options."""
        super().__init__(driver or Asynchronous.to(server, options))
        self.hooks = HookMethods(self.driver)
        self.policy = PolicyMethods(self.driver)
        self.audit = LogMethods(self.driver)
        self.people = PeopleMethods(self.driver)
        self.statistics = StatisticsMethods(self.driver)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel, which is that of the clients which `having` made, too."""
        await self.driver.close()

    def having(
        self,
        *,
        traceparent: str | None = None,
        deadline_seconds: float | None = None,
        retry: Retry | None = None,
        on_retry: Callable[[Retrying], None] | None = None,
    ) -> "AsyncClient":
        """Return a client over the same channel with other options; what is left out stays as it is."""
        return self._with(_changed(self.driver.options, traceparent, deadline_seconds, retry, on_retry))

    async def wait(self, mission_id: str) -> MissionResult:
        """Return the result of a mission, once it has ended.

        Raises:
            CallError: a call failed; LateCallError where the deadline of the options is over first.
        """
        deadline = Deadline(self.driver.options, self.driver.clock)
        while True:
            mission = await self._with(deadline.options()).get(mission_id)
            if mission.ended_at is not None:
                return _result_of(mission, self.driver.server)
            async for _ in self._with(deadline.options()).watch(mission_id, NO_EVENT):
                pass

    def _with(self, options: CallOptions) -> "AsyncClient":
        return AsyncClient(self.driver.server, driver=self.driver.having(options))


def _changed(
    options: CallOptions,
    traceparent: str | None,
    deadline_seconds: float | None,
    retry: Retry | None,
    on_retry: Callable[[Retrying], None] | None,
) -> CallOptions:
    given = {
        "traceparent": traceparent,
        "deadline_seconds": deadline_seconds,
        "retry": retry,
        "on_retry": on_retry,
    }
    return replace(options, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type] # each is of its field


def _result_of(mission: Mission, server: Server) -> MissionResult:
    if mission.result is None:
        raise unreadable(server.address)
    return mission.result
