"""A worker that sends every request back: the floor under a decision that a policy worker makes."""

from collections.abc import Callable


def serve(config: bytes, fds: tuple[int, ...]) -> Callable[[bytes], bytes]:  # noqa: ARG001 - the entry's signature
    """Return the handler."""
    return bytes
