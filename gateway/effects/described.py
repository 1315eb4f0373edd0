"""The arguments of an effect as policy sees them: with what the gateway will do, not only with what was written."""

from engine.values import JsonObject
from gateway.effects.target import HttpTarget
from gateway.errors import EffectError


def described(op: str, args: JsonObject) -> JsonObject:
    """Return `args`, for http.request completed with `method`, `host` and `port` from the parser that connects.

    Raises:
        EffectError: `effect.url_refused`, `effect.arguments`: the performer would refuse them as well.
    """
    if op != "http.request":
        return args
    url = args.get("url")
    if not isinstance(url, str):
        raise EffectError("'url' must be a string", code="effect.arguments")
    target = HttpTarget.parse(url)
    return {"method": "GET", **args, "host": target.host, "port": target.port}
