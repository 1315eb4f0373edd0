"""Runs a hook's cases as a gateway would: compiled in the jail, in a worker process, under the manifest's profile."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.constraints import ExecutionConstraints
from gateway.bundles.configured import bundle_of_home
from gateway.cli.hook.cases import SEED, Case, Expected
from gateway.config import load_config
from gateway.errors import ConfigurationError, SandboxError
from gateway.policy.bundle import Bundle
from gateway.rules import bundled_policies
from gateway.sandbox.abi import decode_step_output
from gateway.sandbox.abi_hooks import decode_observer, decode_rewrite, decode_screen
from gateway.sandbox.compile import compile_module
from gateway.sandbox.manifest import Manifest
from gateway.sandbox.pool import PRELOAD, PooledSandbox
from gateway.sandbox.port import RunGiven
from gateway.sandbox.profile import profiles_from
from gateway.sandbox.shape import Shape, read_shape
from gateway.workers.supervisor import Zygote

_MODULE: Final = "hook"
_GIVEN: Final = RunGiven(1_767_225_600_000_000, bytes.fromhex(SEED))  # as the documents of the cases say


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one round ended: with an answer, or with what the sandbox says in its place."""

    answer: bytes = b""
    code: str = ""  # of the sandbox's or the ABI's refusal; "" where the answer stands
    message: str = ""
    fuel_used: int = 0
    memory_bytes: int = 0
    wall_us: int = 0
    log: bytes = b""  # what the module printed

    def is_met(self, expected: Expected) -> bool:
        """Return whether the round ended as it has to."""
        return not self.code and expected.is_met(self.answer)


@dataclass(frozen=True, slots=True)
class Tried:
    """A case that was run. Rounds after the first that is not met are not run."""

    case: Case
    ends: tuple[Ended, ...]

    @property
    def passed(self) -> bool:
        """Whether every round ended as it has to."""
        whole = len(self.ends) == len(self.case.rounds)
        met = (end.is_met(one.expected) for end, one in zip(self.ends, self.case.rounds, strict=False))
        return whole and all(met)

    @property
    def fuel_used(self) -> int:
        """Fuel of all rounds together, which is what the profile bounds."""
        return sum(end.fuel_used for end in self.ends)

    @property
    def memory_bytes(self) -> int:
        """The most memory of any round."""
        return max((end.memory_bytes for end in self.ends), default=0)

    @property
    def wall_us(self) -> int:
        """The longest of the rounds: the wall is for each."""
        return max((end.wall_us for end in self.ends), default=0)


class Trial:
    """A sandbox with one module."""

    def __init__(self, sandbox: PooledSandbox, manifest: Manifest, constraints: ExecutionConstraints) -> None:
        self._sandbox = sandbox
        self._manifest = manifest
        self.constraints = constraints

    async def run(self, case: Case) -> Tried:
        """Run a case to its end, or to the first round that ends otherwise than it has to."""
        ends: list[Ended] = []
        left = self.constraints
        for one in case.rounds:
            end = await self._once(one.document, left)
            ends.append(end)
            if not end.is_met(one.expected):
                break
            left = left.narrow_by({"fuel_max": max(left.fuel_max - end.fuel_used, 1)})
        return Tried(case, tuple(ends))

    async def _once(self, document: bytes, constraints: ExecutionConstraints) -> Ended:
        try:
            report = await self._sandbox.run(_MODULE, document, constraints, _GIVEN)
        except SandboxError as error:
            return Ended(code=error.code, message=error.message, log=error.log)
        code, message = "", ""
        try:
            self._judge(report.output)
        except SandboxError as error:
            code, message = error.code, error.message
        return Ended(
            answer=report.output,
            code=code,
            message=message,
            fuel_used=report.fuel_used,
            memory_bytes=report.memory_bytes,
            wall_us=report.wall_us,
            log=report.log,
        )

    def _judge(self, answer: bytes) -> None:
        """Read the answer as the gateway will.

        Raises:
            SandboxError: `sandbox.output_invalid`, it is none of the ABI.
        """
        match self._manifest.kind:
            case "step":
                decode_step_output(answer)
            case "screen":
                decode_screen(answer)
            case "rewrite":
                decode_rewrite(answer, "parameters" if self._manifest.at == "parameters" else "output")
            case _:  # whatever an observer answers, nothing is made of it but an error's code
                decode_observer(answer)


@asynccontextmanager
async def trial(module: bytes, manifest: Manifest, constraints: ExecutionConstraints) -> AsyncIterator[Trial]:
    """Compile `module` in the jail, and have a worker with it for as long as the block lasts.

    Raises:
        HookRefusedError: the module would not be registered.
        SandboxError: `sandbox.unavailable`, there are no workers to be had.
    """
    zygote = await Zygote.start(PRELOAD)
    try:
        artefact = await compile_module(zygote, module)
        sandbox = PooledSandbox(zygote, {_MODULE: artefact}, 1)
        try:
            await sandbox.start()
            yield Trial(sandbox, manifest, constraints)
        finally:
            await sandbox.close()
    finally:
        await zygote.close()


async def registered_shape(module: bytes) -> Shape:
    """Return what a module exports, once the jail has accepted it.

    Raises:
        HookRefusedError: the module would not be registered.
        SandboxError: `sandbox.unavailable`, there are no workers to be had.
    """
    zygote = await Zygote.start(PRELOAD)
    try:
        await compile_module(zygote, module)
    finally:
        await zygote.close()
    return read_shape(module)


def constraints_of(manifest: Manifest, *, profile: str | None, home: Path | None) -> ExecutionConstraints:
    """Return the limits of a profile: the manifest's unless another is named, by a gateway's policy or the default one.

    Raises:
        ConfigurationError: `hook.profile`, there is no such profile.
        PolicyInvalidError: the gateway's bundle is not accepted.
    """
    bundle = Bundle.load(bundled_policies()) if home is None else bundle_of_home(home, load_config(home).policy)
    profiles = profiles_from(bundle.data)
    name = profile or manifest.profile
    if name not in profiles:
        message = f"there is no profile {name!r}; there are {', '.join(profiles)}"
        raise ConfigurationError(message, code="hook.profile")
    return profiles[name]


def only(cases: Sequence[Case], wanted: Sequence[str]) -> list[Case]:
    """Return the cases of those names, or all where none is named.

    Raises:
        ConfigurationError: `hook.cases`, there is no case of a name.
    """
    names = {case.name for case in cases}
    if unknown := [name for name in wanted if name not in names]:
        raise ConfigurationError(f"there is no case {unknown[0]!r}", code="hook.cases")
    return [case for case in cases if not wanted or case.name in wanted]
