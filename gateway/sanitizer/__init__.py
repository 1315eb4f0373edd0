"""Checks every value that a client, a module or the network hands in: byte-identical, or refused.

`check_value` judges one string as one type; `ParameterSchema` a whole object, by the JSON Schema of its step kind;
`sanitize_lines` is the command-line form. The rule of each type stands in docs/sanitization.md.
"""

from gateway.sanitizer.limits import ParameterLimits
from gateway.sanitizer.lines import sanitize_lines
from gateway.sanitizer.sanitize import CHECKS, check_value
from gateway.sanitizer.schema import ParameterSchema

__all__ = ["CHECKS", "ParameterLimits", "ParameterSchema", "check_value", "sanitize_lines"]
