"""Who comes in, changed while a gateway runs: whole, or not at all."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.authn.credential import Credential
from gateway.config import Config
from gateway.entrance import Entrance
from gateway.errors import ConfigurationError, UnauthenticatedError
from tests.bundle_worlds import ManualClock
from tests.certificates import Authority

ANN = Credential(bearer="ann-token")


def config(certificate: Path, key: Path, *tokens: str) -> Config:
    entries = [{"sha256": sha256(t.encode()).hexdigest(), "subject": t.removesuffix("-token")} for t in tokens]
    return Config.model_validate({"tls": {"cert_file": str(certificate), "key_file": str(key)}, "tokens": entries})


async def test_a_certificate_that_is_no_good_keeps_the_tokens_as_they_are(tmp_path: Path) -> None:
    """It is looked at before anything is adopted; once it is mended, all is."""
    certificate, key = Authority(tmp_path).issue("server")
    clock = ManualClock(datetime.now(UTC))  # noqa: TID251 - certificates are good by the machine's clock
    entrance = Entrance.of(tmp_path, config(certificate, key), clock)
    wanted, good = config(certificate, key, "ann-token"), certificate.read_bytes()
    certificate.write_text("nothing")
    with pytest.raises(ConfigurationError) as caught:
        entrance.prepare(wanted)
    assert caught.value.code == "config.tls"
    certificate.write_bytes(good)
    adopt = entrance.prepare(wanted)
    with pytest.raises(UnauthenticatedError):  # getting ready changes nothing yet
        await entrance.authenticator.authenticate(ANN)
    adopt()
    assert (await entrance.authenticator.authenticate(ANN)).subject == "ann"
