import re
from pathlib import Path

from gateway.policy.builtins import NATIVE
from gateway.policy.supplied import SUPPLIED

ROOT = Path(__file__).parents[4]
DOCUMENT = (ROOT / "docs" / "vetting.md").read_text()


def test_the_document_lists_every_builtin() -> None:
    """What a policy may call is written down, each under the right heading."""
    native = re.search(r"\*regorus' own\*[^:]*: (.*)\.\n", DOCUMENT)
    supplied = re.search(r"\*Supplied by the gateway\*[^:]*: (.*)\.\n", DOCUMENT)
    assert native is not None
    assert supplied is not None
    assert set(re.findall(r"`([^`]+)`", native[1])) == set(NATIVE)
    assert set(re.findall(r"`([^`]+)`", supplied[1])) == set(SUPPLIED)


def test_the_document_names_every_code() -> None:
    """Each refusal of vetting has its row."""
    source = "\n".join(path.read_text() for path in (ROOT / "gateway" / "policy").glob("vetting*.py"))
    codes = set(re.findall(r'_refuse\(\s*[^,"]+,\s*"(\w+)"', source)) - {"call", "shadowed"}
    assert len(codes) > 15
    assert {code for code in codes if f"policy.{code}`" not in DOCUMENT} == set()
