"""Judges a command line against its rule: what is not declared is refused, by position and by the rule that it breaks.

The danger is not a quote, since no shell is there to see one: it is an option (`--upload-pack=`, `-oProxyCommand=`) in
a place where the writer of a mission expected a name. So every token that a program might take for an option has to be
one that the rule declares, by its exact name:

1. a token that begins with `-` is an option, wherever it stands, as GNU programs permute them; `-` alone is none;
2. an option is looked up by its exact name: no abbreviation of a long one, no bundle of short ones;
3. a value is attached or separate as declared; a separate one never begins with `-`;
4. `--` is refused unless the rule says that the program honours it; what follows it is positional, dashes included;
5. each positional matches the pattern of its place, as a whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.effects.commands.rule import TOKEN, TOKENS_MAX, CommandRule, OptionRule
from gateway.errors import EffectError

_SHORT_CHARS: Final = 2
_END_OF_OPTIONS: Final = "--"
_STANDARD_INPUT: Final = "-"


def refused(position: int, rule: str, message: str) -> EffectError:
    """Return the refusal of `argv[position]`; the token itself is not repeated."""
    text = f"argv[{position}]: {rule}: {message}"
    return EffectError(text, code="effect.command_refused", violation=True)


def judged(argv: Sequence[object], rules: Mapping[str, CommandRule]) -> CommandRule:
    """Return the rule that opens the command line `argv`, whose first token names it.

    Raises:
        EffectError: `effect.command_refused`, with the position and the rule that is broken.
    """
    tokens = _tokens(argv)
    rule = rules.get(tokens[0])
    if rule is None:
        raise refused(0, "name", "commands in data.gateway.config has no entry of this name")
    given = list(_positionals(tokens, rule))
    for place, (position, token) in enumerate(given):
        _check_positional(rule, place, position, token)
    if len(given) < rule.required:
        raise refused(len(tokens), "positional_missing", f"{rule.required} positional arguments are needed")
    return rule


def _tokens(argv: Sequence[object]) -> list[str]:
    if not argv or len(argv) > TOKENS_MAX:
        raise refused(0, "count", f"a command line has 1 to {TOKENS_MAX} tokens")
    tokens: list[str] = []
    for position, token in enumerate(argv):
        if not isinstance(token, str) or not TOKEN.fullmatch(token):
            raise refused(position, "characters", "is no token of A-Z a-z 0-9 _ - . / : = @ , +")
        tokens.append(token)
    return tokens


def _positionals(tokens: Sequence[str], rule: CommandRule) -> Iterator[tuple[int, str]]:
    """Yield position and token of each positional; check each option on the way."""
    position = 1
    while position < len(tokens):
        token = tokens[position]
        if token == _END_OF_OPTIONS:
            if not rule.end_of_options:
                raise refused(position, "end_of_options", "the command's entry does not allow --")
            yield from enumerate(tokens[position + 1 :], position + 1)
            return
        if token.startswith("-") and token != _STANDARD_INPUT:
            position += _option(tokens, position, rule)
        else:
            yield position, token
            position += 1


def _option(tokens: Sequence[str], position: int, rule: CommandRule) -> int:
    """Check the option at `position`; return how many tokens it is."""
    token = tokens[position]
    exact = rule.options.get(token)
    if exact is not None:
        if exact.value is None:
            return 1
        if exact.form != "attached":
            _check_separate(tokens, position, exact)
            return 2
        raise refused(position, "option_value", "the option needs a value attached to it")
    option = _attached(token, rule)
    if option is None or option.value is None:
        raise refused(position, "option_undeclared", "the command's entry declares no such option")
    if not option.value.matches(token.removeprefix(option.attachment)):
        raise refused(position, "option_value", "the option's value does not match its pattern")
    return 1


def _attached(token: str, rule: CommandRule) -> OptionRule | None:
    """Return the option whose attached value `token` may hold: `--name=…`, or `-n…` of a single letter."""
    name = token.partition("=")[0] if token.startswith("--") else token[:_SHORT_CHARS]
    option = rule.options.get(name)
    if option is None or option.value is None or option.form == "separate":
        return None
    return option if token.startswith(option.attachment) else None


def _check_separate(tokens: Sequence[str], position: int, option: OptionRule) -> None:
    at = position + 1
    if at >= len(tokens):
        raise refused(position, "option_value", "the option needs a value behind it")
    if tokens[at].startswith("-"):
        raise refused(at, "option_value", "a value that stands alone does not begin with -")
    if option.value is None or not option.value.matches(tokens[at]):
        raise refused(at, "option_value", "the option's value does not match its pattern")


def _check_positional(rule: CommandRule, place: int, position: int, token: str) -> None:
    pattern = rule.positionals[place] if place < len(rule.positionals) else rule.rest
    if pattern is None:
        raise refused(position, "positional_excess", "the command's entry has no more positional arguments")
    if not pattern.matches(token):
        raise refused(position, "positional", "the argument does not match the pattern of its place")
