"""Whether a bundle's decisions follow from its content and the input alone: a scan of tokens, on the safe side."""

import re
from collections.abc import Iterable
from typing import Final

# Calls whose value changes with the clock, with chance, or with something outside. A name in a comment or a text counts
# too, and so does every other way than `a.b` of reaching into one of these namespaces: it costs a cache, no more.
_MOVING: Final = re.compile(
    r"(?<![\w.])(?:"
    r"time\s*\.\s*now_ns|rand\s*\.|uuid\s*\.|http\s*\.\s*send|opa\s*\.\s*runtime|net\s*\.\s*lookup_"
    r"|io\s*\.\s*jwt\s*\.\s*decode_verify|crypto\s*\.\s*x509\s*\.|json\s*\.\s*(?:match|verify)_schema"
    r"|(?:time|rand|uuid|http|opa|net|io|crypto|json)\s*\["
    r")"
)


def is_deterministic(texts: Iterable[str]) -> bool:
    """Return whether no policy among `texts` names a builtin that depends on more than its arguments."""
    return not any(_MOVING.search(text) for text in texts)
