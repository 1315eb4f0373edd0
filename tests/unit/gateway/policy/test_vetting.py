import pytest

from engine.values import JsonObject
from gateway.errors import PolicyInvalidError
from gateway.policy.vetting import Module, vet
from tests.rego_cases import ACCEPTED, DIFFERENT, REFUSED, SUPPLIED, Case

ROOTS = ("gateway",)


def refusal(*modules: tuple[str, str], **more: object) -> PolicyInvalidError:
    with pytest.raises(PolicyInvalidError) as caught:
        vet([Module(path, text) for path, text in modules], roots=ROOTS, data={}, **more)  # type: ignore[arg-type]
    return caught.value


def is_accepted(*modules: tuple[str, str], data: JsonObject | None = None) -> bool:
    try:
        vet([Module(path, text) for path, text in modules], roots=ROOTS, data=data or {})
    except PolicyInvalidError:
        return False
    return True


@pytest.mark.parametrize("case", [*DIFFERENT, *REFUSED], ids=lambda case: case.name)
def test_what_is_dangerous_is_refused_with_rule_and_line(case: Case) -> None:
    """Each construct is refused with the code of its rule, in the file and line where it stands."""
    with pytest.raises(PolicyInvalidError) as caught:
        vet([Module("t.rego", case.source)], roots=ROOTS, data=case.data)
    assert (caught.value.code, caught.value.file, caught.value.line) == (case.code, "t.rego", case.line)
    assert caught.value.message.startswith(f"t.rego:{case.line}: ")


@pytest.mark.parametrize("case", [*ACCEPTED, *SUPPLIED], ids=lambda case: case.name)
def test_ordinary_policies_are_accepted(case: Case) -> None:
    """Vetting does not stand in the way of what both engines read alike."""
    assert is_accepted(("t.rego", case.source), data=case.data)


LIB = 'package gateway.lib\n\nimport rego.v1\n\ntable := {"a": 1}\n\nf(x) := table[x]\n'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("import data.gateway.lib\n\nd := lib.table.a", "policy.package_reference"),
        ("import data.gateway.lib\n\nd := lib", "policy.package_reference"),
        ("d := data.gateway.lib", "policy.package_reference"),
        ("d := data.gateway[input.x]", "policy.package_reference"),
        ("d := data[input.x]", "policy.package_reference"),
        ("d := data.gateway.lib[input.x]", "policy.package_reference"),
    ],
)
def test_a_package_is_no_value(body: str, code: str) -> None:
    """A package read as a value makes regorus forget the imports of that package; it is refused."""
    refused = refusal(("lib.rego", LIB), ("t.rego", f"package gateway.t\n\nimport rego.v1\n\n{body}\n"))
    assert (refused.code, refused.file) == (code, "t.rego")


def test_a_decision_is_not_written_in_parts() -> None:
    """The engine has the object of such a rule for other rules, and answers undefined to who asks for it by name."""
    text = 'package gateway.step\n\nimport rego.v1\n\ndecision["allow"] := true\n'
    assert (refused := refusal(("t.rego", text))).code == "policy.rule_head"
    assert refused.line == 5


def test_rules_and_functions_of_other_packages_are_named_in_full_or_called() -> None:
    """A rule by its full path, an imported rule, and calls through an import are what a policy needs."""
    imports = "import data.gateway.lib\nimport data.gateway.lib.table as t"
    body = imports + '\n\nd := [lib.f("a"), t.a, data.gateway.lib.table.a]'
    assert is_accepted(("lib.rego", LIB), ("t.rego", f"package gateway.t\n\nimport rego.v1\n\n{body}\n"))


def test_recursion_across_files_names_the_circle() -> None:
    """A cycle through two packages is found, and printed."""
    one = "package gateway.a\n\nimport rego.v1\n\np if data.gateway.b.q\n"
    two = "package gateway.b\n\nimport rego.v1\n\nq if data.gateway.a.p\n"
    refused = refusal(("a.rego", one), ("b.rego", two))
    assert refused.code == "policy.recursion"
    assert "data.gateway.a.p → data.gateway.b.q → data.gateway.a.p" in refused.message


def test_a_long_chain_of_rules_is_no_recursion() -> None:
    """Depth alone is fine, and does not exhaust the stack of vetting."""
    rules = "\n".join(f"r{i} := r{i + 1}" for i in range(3_000))
    assert is_accepted(("t.rego", f"package gateway.t\n\nimport rego.v1\n\n{rules}\nr3000 := 1\n"))


def test_variables_that_name_each_other_end() -> None:
    """Looking through `:=` for a type ends, even where the policy makes no sense."""
    body = "d := count(x) if { x := y; y := x }"
    refused = refusal(("t.rego", f"package gateway.t\n\nimport rego.v1\n\n{body}\n"))
    assert refused.code == "policy.declared_late"


def test_the_operator_may_answer_for_a_builtin() -> None:
    """A name that is allowed by configuration passes, and only that one."""
    clock = "package gateway.t\n\nimport rego.v1\n\nd := time.now_ns()\n"
    vet([Module("t.rego", clock)], roots=ROOTS, data={}, builtins_allowed=frozenset({"time.now_ns"}))
    assert refusal(("t.rego", clock), builtins_allowed=frozenset({"rand.intn"})).code == "policy.builtin"


def test_a_package_outside_the_roots_is_refused() -> None:
    """A bundle owns its roots and nothing else; `gatewayx` is not below `gateway`."""
    assert refusal(("t.rego", "package gatewayx.t\n\nd := 1\n")).code == "policy.outside_roots"


def test_a_package_below_a_rule_is_refused() -> None:
    """OPA refuses the two together; regorus would merge them."""
    rule = "package gateway.a\n\nimport rego.v1\n\nb := {}\n"
    assert refusal(("a.rego", rule), ("b.rego", "package gateway.a.b\n\nd := 1\n")).code == "policy.rule_conflict"


def test_a_format_has_as_many_verbs_as_values() -> None:
    """What Go would complain about in the text is refused at load, where the format and the values are written out."""
    good = 'd := sprintf("%s: %d", [input.x, 1])'
    assert is_accepted(("t.rego", f"package gateway.t\n\nimport rego.v1\n\n{good}\n"))
    bad = 'd := sprintf("%s: %5d", [input.x, 1])'
    assert refusal(("t.rego", f"package gateway.t\n\nimport rego.v1\n\n{bad}\n")).code == "policy.sprintf"
