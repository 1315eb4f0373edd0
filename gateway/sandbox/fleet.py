"""All sandbox workers of a gateway: a pool for each trust class, and the change from one set of modules to the next.

A change is prepared beside what is in force: what is new is compiled in the jail, its workers are started, and only
then is anything let go of. Where a part of that fails, nothing has changed. A trust class whose modules stay the same
keeps its workers.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar
from weakref import WeakSet

from gateway.errors import HookRefusedError
from gateway.sandbox.artefact import Artefact
from gateway.sandbox.compile import compile_module
from gateway.sandbox.hooks import Hook
from gateway.sandbox.pool import PooledSandbox
from gateway.sandbox.retiring import RetiringSandbox
from gateway.sandbox.routing import Duty, RoutedSandbox, duty, trust_class
from gateway.workers.pool import Standing
from gateway.workers.supervisor import Zygote

AWAKE_MAX: Final = 4  # sets that are no longer in force and have processes
# Runs handed to one worker: it need not wait for us between two, and only the first is blamed.
_DEPTH: Final = 4

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Squad:
    """The workers of one trust class."""

    artefacts: Mapping[str, Artefact]  # by `Hook.key`
    workers: RetiringSandbox


@dataclass(frozen=True, slots=True)
class Formation:
    """The workers for one set of hooks, ready to run."""

    squads: Mapping[str, Squad]  # by trust class

    def sandbox(self) -> RoutedSandbox:
        """Return the way to them."""
        return RoutedSandbox({key: squad.workers for squad in self.squads.values() for key in squad.artefacts})


class Fleet:
    """Keeps the formation that is in force, and makes the next. Its callers change it one at a time."""

    def __init__(self, zygote: Zygote, sizes: Mapping[Duty, int]) -> None:
        """Take how many workers each trust class gets, by what they are there for."""
        self._zygote = zygote
        self._sizes = sizes
        self._formation = Formation(MappingProxyType({}))
        self._awake = asyncio.Semaphore(AWAKE_MAX)
        # Those that have, or may have, processes; a retired one is there for as long as a step holds its set.
        self._all: WeakSet[RetiringSandbox] = WeakSet()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the ready workers, of sets no longer in force too."""
        return tuple(pid for workers in self._all for pid in workers.pids)

    def pids_of(self, name: str) -> tuple[int, ...]:
        """Process ids of the ready workers of one trust class, as far as it is in force."""
        squad = self._formation.squads.get(name)
        return squad.workers.pids if squad is not None else ()

    @property
    def standing(self) -> dict[str, Standing]:
        """How it stands with the workers in force, by trust class."""
        found = {name: squad.workers.standing for name, squad in self._formation.squads.items()}
        return {name: standing for name, standing in found.items() if standing is not None}

    @property
    def able(self) -> bool:
        """Whether every trust class in force has a worker that is ready."""
        return all(squad.workers.pids for squad in self._formation.squads.values())

    async def check(self, hook: Hook) -> None:
        """Compile a hook in the jail, and throw the result away.

        Raises:
            HookRefusedError: as `compile_module`; the text names the hook.
            SandboxError: there is no jail to be had.
        """
        await self._compiled(hook)

    async def prepare(self, hooks: Sequence[Hook]) -> Formation:
        """Return a formation for `hooks`, started; it is in force once it is adopted.

        Raises:
            HookRefusedError: a module is not accepted.
            SandboxError: its workers do not come up. Either way nothing is left running.
        """
        classes: dict[str, list[Hook]] = {}
        for hook in hooks:
            classes.setdefault(trust_class(hook), []).append(hook)
        names = sorted(classes)
        artefacts = await all_of(self._artefacts(name, classes[name]) for name in names)
        squads: dict[str, Squad] = {}
        started: list[RetiringSandbox] = []
        for name, modules in zip(names, artefacts, strict=True):
            present = self._formation.squads.get(name)
            if present is not None and present.artefacts == modules:
                squads[name] = present
                continue
            squads[name] = squad = Squad(artefacts=modules, workers=self._workers(modules, duty(classes[name][0])))
            started.append(squad.workers)
        self._all.update(started)
        try:
            await all_of(workers.start() for workers in started)
        except BaseException:
            await self._end(started)
            raise
        return Formation(MappingProxyType(squads))

    def adopt(self, formation: Formation) -> Sequence[RetiringSandbox]:
        """Put a formation in force, and return the workers that it does without, for `retire`."""
        kept = {squad.workers for squad in formation.squads.values()}
        left = [squad.workers for squad in self._formation.squads.values() if squad.workers not in kept]
        self._formation = formation
        return left

    async def retire(self, left: Sequence[RetiringSandbox]) -> None:
        """Let workers end when their runs have; a step that began with them may still bring one back."""
        await asyncio.gather(*(workers.retire() for workers in left))

    async def discard(self, formation: Formation) -> None:
        """End what a formation that is not adopted has of its own."""
        kept = {squad.workers for squad in self._formation.squads.values()}
        await self._end([s.workers for s in formation.squads.values() if s.workers not in kept])

    async def close(self) -> None:
        """Let runs end, then end every worker; once more is no error."""
        await self._end(list(self._all))

    @staticmethod
    async def _end(these: Sequence[RetiringSandbox]) -> None:
        await asyncio.gather(*(workers.close() for workers in these))

    def _workers(self, modules: Mapping[str, Artefact], duty: Duty) -> RetiringSandbox:
        zygote = self._zygote

        def make(size: int) -> PooledSandbox:
            return PooledSandbox(zygote, modules, size, depth=_DEPTH)

        return RetiringSandbox(make, self._sizes[duty], self._awake)

    async def _artefacts(self, name: str, hooks: Sequence[Hook]) -> Mapping[str, Artefact]:
        """Return the machine code of a trust class's modules; what it has already is not compiled again."""
        present = self._formation.squads.get(name)
        known = present.artefacts if present is not None else {}

        async def artefact(hook: Hook) -> Artefact:
            found = known.get(hook.key)
            return found if found is not None and found.sha256 == hook.sha256 else await self._compiled(hook)

        made = await all_of(artefact(hook) for hook in hooks)
        return {hook.key: each for hook, each in zip(hooks, made, strict=True)}

    async def _compiled(self, hook: Hook) -> Artefact:
        try:
            return await compile_module(self._zygote, hook.module)
        except HookRefusedError as error:
            text = f"hook {hook.name}: its module: {error.message}"
            raise HookRefusedError(text, code=error.code, field=f"hook {hook.name}") from error


async def all_of(works: Iterable[Awaitable[_T]]) -> list[_T]:
    """Return what all return, or raise what the first of them has raised, once every one of them has ended.

    What `asyncio.gather` leaves running where one fails would find the zygote closed under its feet.
    """
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
