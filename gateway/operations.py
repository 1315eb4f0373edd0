"""The operations of a gateway: what performs each kind of effect, and follows the bundle in force."""

from collections.abc import Mapping
from contextlib import AsyncExitStack

from gateway.effects.blocking import BlockingPool
from gateway.effects.commands.run import CommandRun
from gateway.effects.commands.runner import CommandRunner
from gateway.effects.files import FileLimits, FileRead, FileWrite
from gateway.effects.http import HttpLimits, HttpRequest, tls_context
from gateway.effects.performer import Effects, Performer
from gateway.effects.resolver import SystemResolver
from gateway.effects.timer import TimerSleep
from gateway.rulebook import Rulebook
from gateway.rules import Rules
from gateway.watch import Outgoing, nothing_outgoing


def operations(
    stack: AsyncExitStack,
    rules: Rules,
    rulebook: Rulebook,
    runner: CommandRunner,
    waits: Mapping[str, Performer],
    outgoing: Outgoing = nothing_outgoing,
) -> Effects:
    """Return every operation of this gateway; `waits` are those that wait for people and for other missions.

    `outgoing` says which hosts are told where in a trace a request is.

    What blocks has threads of its own, a bounded number of them.
    """
    disk = BlockingPool("files", threads=4, waiting_max=4_096)
    names = BlockingPool("names", threads=4, waiting_max=256)
    stack.callback(disk.close)
    stack.callback(names.close)
    http = HttpRequest(rules.addresses, SystemResolver(names), tls_context(), HttpLimits(), outgoing)
    commands = CommandRun(rules.commands, runner, disk)
    rulebook.follow(lambda rules: http.adopt(rules.addresses))
    rulebook.follow(lambda rules: commands.adopt(rules.commands))
    return Effects(
        {
            "file.write": FileWrite(disk, FileLimits()),
            "file.read": FileRead(disk, FileLimits()),
            "http.request": http,
            "timer.sleep": TimerSleep(),
            "command.run": commands,
            **waits,
        }
    )
