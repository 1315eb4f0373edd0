"""Reads `data.yaml`: the part of YAML that every reader takes for the same values, and nothing else.

YAML 1.1 and 1.2, and the libraries for them, disagree on `yes`, `0o17`, `1_000`, `12:30`, `~`, `2026-01-01` and more,
on merge keys and on tags. A plain scalar here is `true`, `false`, `null`, a whole number as JSON writes it, or a text
that no reader could take for anything else. All other values are written in quotes, or in data.json.
"""

import re
from typing import Any, Final

import yaml

from gateway.errors import PolicyInvalidError

NESTING_MAX: Final = 64
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,15})")
# Words, paths and dotted names; with a letter, then nothing that begins a number, a date, a time or a constant.
_TEXT: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
_AMBIGUOUS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_ALIASES: Final = "anchors, aliases, tags and merge keys are not read"


def parse_yaml(content: bytes, name: str) -> Any:
    """Return the value of one YAML document.

    Raises:
        PolicyInvalidError: `policy.bad_data` for what is no YAML, or a key twice; `policy.not_supported` for what
            readers of YAML read differently.
    """
    try:
        text = content.decode()
        if text.startswith("\ufeff"):
            raise PolicyInvalidError("begins with a byte order mark", code="policy.bad_data", file=name)
        _check_events(text, name)
        return _value(yaml.compose(text, Loader=yaml.SafeLoader), name)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if isinstance(error.problem_mark, yaml.Mark) else None
        raise PolicyInvalidError(error.problem or "no YAML", code="policy.bad_data", file=name, line=line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PolicyInvalidError("is no YAML that can be read", code="policy.bad_data", file=name) from error


def _check_events(text: str, name: str) -> None:
    """Refuse anchors, aliases, tags, directives and deep nesting before anything is built of them.

    Of collections in collections the scanner looks at all that are open for each token: 8,000 `[` took half a minute.
    """
    event: Any
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise PolicyInvalidError(_ALIASES, code="policy.not_supported", file=name, line=line)
        if isinstance(event, yaml.DocumentStartEvent) and (event.version or event.tags):
            raise PolicyInvalidError("directives are not read", code="policy.not_supported", file=name, line=line)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > NESTING_MAX:
            raise PolicyInvalidError(f"nested over {NESTING_MAX} levels", code="policy.bad_data", file=name, line=line)


def _value(node: Any, name: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _value(key_node, name) if isinstance(key_node, yaml.ScalarNode) else None
            line = key_node.start_mark.line + 1
            if not isinstance(key, str) or key == "<<":
                message = "a key must be a text; put it in quotes"
                raise PolicyInvalidError(message, code="policy.not_supported", file=name, line=line)
            if key in out:
                message = f"the key {key!r} is there twice"
                raise PolicyInvalidError(message, code="policy.bad_data", file=name, line=line)
            out[key] = _value(value_node, name)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, name) for item in node.value]
    return _scalar(node, name)


def _scalar(node: Any, name: str) -> Any:
    if node is None:
        raise PolicyInvalidError("is empty", code="policy.bad_data", file=name)
    text: str = node.value
    if node.style in {'"', "'"}:
        return text
    if node.style is None:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _WHOLE.fullmatch(text) and text != "-0":
            return int(text)
        if _TEXT.fullmatch(text) and text.lower() not in _AMBIGUOUS:
            return text
    message = f"readers of YAML may take {text[:40]!r} for different values: put it in quotes, or in data.json"
    raise PolicyInvalidError(message, code="policy.not_supported", file=name, line=node.start_mark.line + 1)
