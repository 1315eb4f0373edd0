"""Laws of command lines: whatever is generated, no option passes that is not declared, nor in an undeclared form."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.effects.commands.argv import judged
from gateway.effects.commands.data import commands_from
from gateway.errors import EffectError

NAMES = ("-a", "-b", "-n", "-ab", "-long", "--all", "--almost", "--no-all", "--n")
TOKENS = st.one_of(
    st.from_regex(r"--?[abn=x-]{0,6}", fullmatch=True),
    st.sampled_from([*NAMES, "--", "-", "--all=x", "--al", "-an", "-nx", "-n=x", "--n=", "x", "=x", "--upload-pack=x"]),
    st.from_regex(r"[A-Za-z0-9_\-./:=@,+]{1,8}", fullmatch=True),
)


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in draw(st.sets(st.sampled_from(NAMES), max_size=5)):
        attaches = name.startswith("--") or len(name) == 2
        form = draw(st.sampled_from(["attached", "separate", "either"] if attaches else ["separate"]))
        found[name] = draw(st.sampled_from([{}, {"value": "[ax]*", "form": form}]))
    if "-ab" in found and "value" in found.get("-a", {}):
        del found["-ab"]
    return found


def rules(declared: dict[str, Any], *, ends: bool) -> Any:
    entry = {"executable": "/bin/x", "options": declared, "rest": ".*", "end_of_options": ends}
    return commands_from({"commands": {"x": entry}})


def passes(line: list[str], declared: Any) -> bool:
    """Return whether a line is let through; if not, it is refused with the one code there is."""
    try:
        judged(line, declared)
    except EffectError as error:
        if error.code != "effect.command_refused":
            raise
        return False
    return True


@given(options(), st.booleans(), st.lists(TOKENS, max_size=6))
def test_no_undeclared_option_ever_passes(declared: dict[str, Any], ends: bool, tokens: list[str]) -> None:
    """Of a line that passes, each token with a dash is a declared option, or stands behind a `--` that is allowed."""
    if not passes(["x", *tokens], rules(declared, ends=ends)):
        return
    at = 0
    while at < len(tokens):
        word = tokens[at]
        if word == "--":
            assert ends
            return
        if word.startswith("-") and word != "-":
            exact = declared.get(word)
            if exact is not None and "value" in exact:
                assert exact["form"] != "attached"
                at += 1
                assert not tokens[at].startswith("-")
                assert set(tokens[at]) <= {"a", "x"}
            elif exact is None:
                name = word.partition("=")[0] if word.startswith("--") else word[:2]
                assert declared[name]["form"] != "separate"
                value = word.removeprefix(name).removeprefix("=" if name.startswith("--") else "")
                assert set(value) <= {"a", "x"}
        at += 1


@given(options(), st.lists(TOKENS, max_size=6), st.text(min_size=1, max_size=3))
def test_a_token_outside_of_the_grammar_never_passes(declared: dict[str, Any], tokens: list[str], odd: str) -> None:
    """Wherever it stands, whatever the patterns are."""
    if all(char.isascii() and (char.isalnum() or char in "_-./:=@,+") for char in odd):
        return
    for at in range(len(tokens) + 1):
        assert not passes(["x", *tokens[:at], odd, *tokens[at:]], rules(declared, ends=True))


@given(options(), st.booleans(), st.lists(TOKENS, max_size=6))
def test_declaring_less_never_allows_more(declared: dict[str, Any], ends: bool, tokens: list[str]) -> None:
    """A line that passes with fewer options passes with all of them, but for an option that became a flag."""
    line = ["x", *tokens]
    for name in declared:
        fewer = {other: entry for other, entry in declared.items() if other != name}
        if passes(line, rules(fewer, ends=ends)):
            assert passes(line, rules(declared, ends=ends))
