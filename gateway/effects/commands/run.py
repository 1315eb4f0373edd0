"""command.run: one program that policy data names, in the mission's workspace, confined by the kernel.

1. the command line is judged against its entry (`gateway.effects.commands.argv`); nothing is started for a refusal;
2. one command at a time has a workspace, and a bounded number run at all; the wait is within the effect's time;
3. the workspace is counted: what is left of its limits is what the command may add;
4. the program runs to its end, or is ended, and none of its processes is left (`gateway.effects.commands.guard`);
5. the workspace is counted again, whatever came of the command: one that is over its limits takes nothing more.

How the program ended is an outcome, a limit that ended it included: the gateway knows what happened, and files that it
has written stay. In doubt is only a run whose worker died. No run is ever repeated unasked.
"""

import asyncio
import base64
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

from engine.values import JsonObject, JsonValue
from gateway.detached import Detached
from gateway.effects.arguments import integer, invalid, only_fields, payload
from gateway.effects.blocking import BlockingPool
from gateway.effects.commands import kernel
from gateway.effects.commands.argv import judged, refused
from gateway.effects.commands.limits import OUTPUT_BYTES_MAX, STDIN_BYTES_MAX, WALL_MS_MAX, CommandLimits
from gateway.effects.commands.order import CommandEnd, CommandOrder
from gateway.effects.commands.rule import CommandRule
from gateway.effects.commands.runner import CommandRunner
from gateway.effects.performer import SECONDS_MAX, EffectRequest, EffectScope
from gateway.effects.workspace import Workspace
from gateway.errors import EffectError

RUNNING_MAX: Final = 16  # commands of one gateway at a time
_COUNT_SECONDS_MAX: Final = 10.0
_CHARACTER_BYTES_MAX: Final = 4  # of UTF-8
_FIELDS: Final = frozenset({"argv", "stdin", "stdin_base64", "timeout_ms", "output_bytes_max"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """The checked arguments of one run."""

    rule: CommandRule
    argv: Sequence[str]
    stdin: bytes
    limits: CommandLimits


class CommandRun:
    """Performs command.run; `rules` are the only programs there are."""

    seconds_max = SECONDS_MAX

    def __init__(self, rules: Mapping[str, CommandRule], runner: CommandRunner, disk: BlockingPool) -> None:
        self._rules = rules
        self._runner = runner
        self._disk = disk
        self._places = asyncio.Semaphore(RUNNING_MAX)
        self._counting = Detached()

    def adopt(self, rules: Mapping[str, CommandRule]) -> None:
        """From now on run these programs, and no others."""
        self._rules = rules

    def repeatable(self, _args: JsonObject) -> bool:
        """Return False: nobody knows what a program does the second time."""
        return False

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        """Run it; return `{command, ended, exit_code, signal, stdout, stderr, truncated, duration_ms}`."""
        call = self._parse(request.args)  # (1)
        if lacking := kernel.missing():
            raise EffectError(f"commands need {lacking}", code="effect.command_unavailable")
        ends_at = asyncio.get_running_loop().time() + request.timeout_seconds
        async with AsyncExitStack() as held:
            await self._place(held, scope.workspace, request.timeout_seconds)  # (2)
            try:
                end = await self._run(call, scope.workspace, ends_at)
            finally:
                await self._counting.run(self._count(scope.workspace))  # (5)
            if scope.workspace.usage.over:
                end = replace(end, how="disk", exit_code=None)
        return _outcome(call.rule, end)

    async def _place(self, held: AsyncExitStack, workspace: Workspace, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await held.enter_async_context(workspace.commanding)
                await held.enter_async_context(self._places)
        except TimeoutError as error:
            raise EffectError("no place for a command came free in time", code="effect.overloaded") from error

    async def _run(self, call: _Call, workspace: Workspace, ends_at: float) -> CommandEnd:
        await self._count(workspace)  # (3)
        usage = workspace.usage
        if usage.left_bytes <= 0 or usage.over:
            raise EffectError("the workspace is full; a command could add nothing", code="effect.workspace_full")
        left_ms = int((ends_at - asyncio.get_running_loop().time()) * 1000)
        if left_ms <= 0:
            raise EffectError("the time for this effect was over before it began", code="effect.timeout")
        limits = replace(
            call.limits,
            wall_ms_max=min(call.limits.wall_ms_max, left_ms),
            file_bytes_max=min(call.limits.file_bytes_max, usage.left_bytes),
        )
        rule = call.rule
        order = CommandOrder(
            executable=rule.executable,
            sha256=rule.sha256,
            argv=(rule.executable, *rule.fixed, *call.argv[1:]),
            stdin=call.stdin,
            reads=rule.reads,
            executes=rule.executes,
            limits=limits,
            entries_max=usage.limits.entries_max,
            bytes_max=usage.limits.bytes_max,
        )
        with workspace.hold() as opened:
            root = os.dup(opened.root)
        try:
            return await self._runner.run(order, root)  # (4)
        finally:
            os.close(root)

    def _parse(self, args: JsonObject) -> _Call:
        only_fields(args, _FIELDS)
        argv = args.get("argv")
        if not isinstance(argv, Sequence) or isinstance(argv, str):
            raise invalid("'argv' must be a list")
        rule = judged(argv, self._rules)
        stdin = payload(args, "stdin")
        if stdin is not None and not rule.stdin:
            raise refused(0, "stdin", "the command's entry takes no standard input")
        if stdin is not None and len(stdin) > STDIN_BYTES_MAX:
            raise EffectError(f"standard input has at most {STDIN_BYTES_MAX} bytes", code="effect.too_large")
        timeout_ms = integer(args, "timeout_ms", maximum=WALL_MS_MAX, default=WALL_MS_MAX)
        output_bytes = integer(args, "output_bytes_max", maximum=OUTPUT_BYTES_MAX, default=OUTPUT_BYTES_MAX)
        limits = replace(
            rule.limits,
            wall_ms_max=min(rule.limits.wall_ms_max, timeout_ms),
            output_bytes_max=min(rule.limits.output_bytes_max, output_bytes),
        )
        return _Call(rule=rule, argv=[str(token) for token in argv], stdin=stdin or b"", limits=limits)

    async def _count(self, workspace: Workspace) -> None:
        """Count the workspace as it is; one that cannot be counted counts as full."""
        await self._disk.run(workspace.recount, timeout_seconds=_COUNT_SECONDS_MAX)


def _outcome(rule: CommandRule, end: CommandEnd) -> JsonObject:
    outcome: dict[str, JsonValue] = {
        "command": rule.name,
        "ended": end.how,
        "exit_code": end.exit_code,
        "signal": _signal_name(end.signal),
        "truncated": any(end.cut),
        "duration_ms": end.duration_ms,
    }
    return outcome | _stream("stdout", end.output, cut=end.cut[0]) | _stream("stderr", end.errors, cut=end.cut[1])


def _signal_name(number: int | None) -> str | None:
    if number is None:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has a number only
        return f"SIG{number}"


def _stream(name: str, raw: bytes, *, cut: bool) -> dict[str, JsonValue]:
    """Return text as text, anything else as base64.

    Control characters would be six bytes each as JSON, so that 64 KiB of them were more than a journal holds.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if not (cut and error.end == len(raw) and len(raw) - error.start < _CHARACTER_BYTES_MAX):
            return {f"{name}_base64": base64.b64encode(raw).decode("ascii")}
        text = raw[: error.start].decode("utf-8")  # the bound fell into a character
    if any(char < " " and char not in "\t\n\r" for char in text):
        return {f"{name}_base64": base64.b64encode(raw).decode("ascii")}
    return {name: text}
