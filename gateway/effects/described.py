"""The arguments of an effect as policy sees them: with what the gateway will do, not only with what was written."""

from collections.abc import Sequence

from engine.values import JsonObject, JsonValue
from gateway.effects.target import HttpTarget
from gateway.effects.waits import ApprovalTerms
from gateway.errors import EffectError


def described(op: str, args: JsonObject) -> JsonObject:
    """Return `args`, completed for three operations; the others do nothing that is not written.

    - http.request: with `method`, `host` and `port` from the parser that connects;
    - command.run: with `command`, the name that the command line begins with;
    - approval.request: with who may decide and for how long, where the step leaves it to the gateway.

    Raises:
        EffectError: `effect.url_refused`, `effect.arguments`: the performer would refuse them as well.
    """
    if op == "approval.request":
        return ApprovalTerms.parse(args).document()
    if op == "command.run":
        return {**args, "command": _command_name(args.get("argv"))}
    if op != "http.request":
        return args
    url = args.get("url")
    if not isinstance(url, str):
        raise EffectError("'url' must be a string", code="effect.arguments")
    target = HttpTarget.parse(url)
    return {"method": "GET", **args, "host": target.host, "port": target.port}


def _command_name(argv: JsonValue) -> str:
    name = argv[0] if isinstance(argv, Sequence) and argv else None
    if isinstance(argv, str) or not isinstance(name, str):
        raise EffectError("'argv' must be a list that begins with a name", code="effect.arguments")
    return name
