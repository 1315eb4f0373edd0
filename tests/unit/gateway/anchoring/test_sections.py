from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.audit_config import AuditConfig
from tests.audit_logs import VKEY
from tests.cosigning import Cosigner

ONE, TWO = Cosigner("w1").key.vkey(), Cosigner("w2").key.vkey()
TWIN = Cosigner("w2", Cosigner("w1").private.private_bytes_raw()).key.vkey()
URL = "https://witness.example/prefix"


def config(**fields: Any) -> AuditConfig:
    return AuditConfig.model_validate(fields)


def witnesses(*keys: str) -> list[dict[str, str]]:
    return [{"url": URL, "key": key} for key in keys]


def assert_refused(why: str, **fields: Any) -> None:
    with pytest.raises(ValidationError, match=why):
        config(**fields)


def test_nothing_outside_is_the_default() -> None:
    """Acknowledged when signed, nobody asked, nothing published."""
    assert config().acknowledge == "signed"
    assert config().anchoring(Path("home")) is None


def test_a_quorum_is_everybody_unless_it_is_said() -> None:
    """Without witnesses_required all have to cosign: whoever names three wants three."""
    for required, expected in ((None, 2), (1, 1), (2, 2)):
        fields = {} if required is None else {"witnesses_required": required}
        settings = config(acknowledge="witnessed", witnesses=witnesses(ONE, TWO), **fields).anchoring(Path("home"))
        assert settings is not None
        assert (settings.required, settings.waited_for) == (expected, True)


def test_the_limit_of_a_wait_reaches_the_log() -> None:
    """witness_seconds_max is the log's to keep."""
    assert config(witness_seconds_max=2.5).limits().witness_seconds_max == 2.5


def test_paths_are_of_the_home() -> None:
    """A file of a section is below the home; none is none."""
    settings = config(anchors=[{"file": "anchor"}]).anchoring(Path("home"))
    assert settings is not None
    assert settings.path("ca.pem") == Path("home/ca.pem")
    assert settings.path("") is None


def test_what_does_not_fit_together_is_refused() -> None:
    """Each rule between the keys, in words that name them."""
    assert_refused(r'acknowledge = "witnessed" needs \[\[audit.witnesses\]\]', acknowledge="witnessed")
    assert_refused("witnesses_required is 2, and there are 1 witnesses", witnesses=witnesses(ONE), witnesses_required=2)
    assert_refused("witnesses_required is 1, and there are 0 witnesses", witnesses_required=1)
    assert_refused("same name or the same public key", witnesses=witnesses(ONE, ONE))
    assert_refused("same name or the same public key", witnesses=witnesses(ONE, TWIN))
    assert_refused("two anchors are the same place", anchors=[{"file": "a"}, {"file": "a"}])
    assert_refused("either file or url", anchors=[{}])
    assert_refused("either file or url", anchors=[{"file": "a", "url": URL}])
    assert_refused("are for a url", anchors=[{"file": "a", "token_file": "t"}])
    assert_refused("type is not 0x04", witnesses=witnesses(VKEY))
    assert_refused("greater than or equal to 1", witnesses=witnesses(ONE), witnesses_required=0)
    assert_refused("at most 32 items", witnesses=witnesses(*[Cosigner(f"w{n}").key.vkey() for n in range(33)]))


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://witness.example", True),
        ("https://witness.example:8443/a/b/", True),
        ("http://127.0.0.1:7380", True),
        ("http://[::1]:7380/x", True),
        ("http://localhost:7380", True),
        ("http://witness.example", False),
        ("http://10.0.0.1", False),
        ("https://user@witness.example", False),
        ("https://user:secret@witness.example", False),
        ("https://witness.example/?a=b", False),
        ("https://witness.example/#a", False),
        ("https://", False),
        ("ftp://witness.example", False),
        ("https://witness.example:0", False),
        ("https://witness.example:99999", False),
        ("https://[::1", False),
        ("https://witness.example/a b", False),
        ("https://wítness.example", False),
        ("", False),
    ],
)
def test_urls_are_protected(url: str, good: bool) -> None:
    """https, or this machine; nothing in it that would be sent along unseen."""
    if good:
        assert config(witnesses=[{"url": url, "key": ONE}]).witnesses[0].url == url
        return
    assert_refused("must be", witnesses=[{"url": url, "key": ONE}])
    if url:
        assert_refused("must be", anchors=[{"url": url}])
