"""Whether the answers of a bundle follow from its documents alone: what a decision cache may keep.

A scan of the text for names, which works for any module, vetted or not. It is conservative: a name in a comment or a
string counts too, and so does a call that is put together from parts; the cost is a decision that is not cached.
"""

import re
from collections.abc import Iterable
from typing import Final

_ELSEWHERE: Final = re.compile(
    r"""
      (?<![\w.])(?:time\s*\.\s*now_ns | http\s*\.\s*send | opa\s*\.\s*runtime | uuid\s*\.\s*rfc4122
        | rand\s*\.\s*\w+ | net\s*\.\s*lookup_\w+ | rego\s*\.\s*metadata)
    | (?<![\w.])(?:time|http|opa|uuid|rand|net|rego)\s*\[     # the same, in brackets
    | \bimport\s+(?:time|http|opa|uuid|rand|net)\b
    | (?<![\w.])io\s*(?:\.\s*jwt|\[)                          # decode_verify reads the clock where `time` is not given
    | (?<![\w.])crypto\s*(?:\.\s*x509|\[)                     # verification of certificates, likewise
    | (?<![\w.])providers\s*[.\[]
    | (?<![\w.])json\s*(?:\.\s*(?:match|verify)_schema|\[)   # a schema may refer to one elsewhere
    """,
    re.VERBOSE,
)


def depends_on_more(texts: Iterable[str]) -> bool:
    """Return whether any of the policy texts names a builtin whose answer depends on more than the input and data.

    Args:
        texts: of all modules of a bundle, as they are evaluated.
    """
    return any(_ELSEWHERE.search(text) for text in texts)
