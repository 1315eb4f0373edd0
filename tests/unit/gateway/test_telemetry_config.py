"""`[log]`, `[web]` and `[tracing]`: nothing listens to the network, or is sent anywhere, unless that is said."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config import Config
from gateway.errors import ConfigurationError
from gateway.telemetry.opening import Telemetry, TelemetrySettings
from gateway.telemetry_config import TracingConfig, WebConfig
from gateway.watch import UNWATCHED, traceparent
from tests.telemetry import Counting, HandClock

OFF = TelemetrySettings(
    metrics=False,
    url="",
    token_file=None,
    ca_file=None,
    ratio=1.0,
    follow_callers=True,
    propagate_to=frozenset({"traced.example"}),
    service="missiongate",
)


def test_by_default_nobody_watches() -> None:
    """No second port, no collector; the log says what is worth knowing."""
    config = Config()
    assert (config.web.listen, config.tracing.url, config.log.level) == ("", "", "info")
    telemetry = Telemetry.of(OFF, HandClock(), Counting())
    assert telemetry.watch is UNWATCHED
    assert telemetry.works() == []
    assert telemetry.traces() is None
    assert telemetry.outgoing("traced.example") is None


@pytest.mark.parametrize("listen", ["127.0.0.1:7444", "[::1]:0", "localhost:7444"])
def test_the_second_port_is_on_loopback(listen: str) -> None:
    """Host and port are told apart."""
    host, port = WebConfig(listen=listen).address
    assert (host, str(port)) == (listen.rpartition(":")[0].strip("[]"), listen.rpartition(":")[2])


@pytest.mark.parametrize("listen", ["0.0.0.0:7444", "10.0.0.7:7444", "gate.example:7444", "[::]:7444"])
def test_elsewhere_only_by_name(listen: str) -> None:
    """`allow_remote` is that name."""
    with pytest.raises(ValidationError, match="allow_remote"):
        WebConfig(listen=listen)
    assert WebConfig(listen=listen, allow_remote=True).listen == listen


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (WebConfig, {"listen": "7444"}),
        (WebConfig, {"listen": "127.0.0.1:65536"}),
        (WebConfig, {"names": ["Gate.Example"]}),
        (TracingConfig, {"ratio": 1.5}),
        (TracingConfig, {"propagate_to": ["https://api.example"]}),
        (TracingConfig, {"service": "a b"}),
    ],
)
def test_what_is_not_well_formed_is_refused(section: Any, values: dict[str, Any]) -> None:
    """Before anything starts."""
    with pytest.raises(ValidationError):
        section(**values)


def with_url(url: str, **changes: Any) -> TelemetrySettings:
    fields = {name: getattr(OFF, name) for name in TelemetrySettings.__dataclass_fields__}
    return TelemetrySettings(**{**fields, "url": url, **changes})


@pytest.mark.parametrize("url", ["127.0.0.1:4318", "ftp://collector.example/", "https://user@collector.example/"])
def test_a_collector_that_is_none_ends_the_start(url: str) -> None:
    """With the key that names it."""
    with pytest.raises(ConfigurationError, match=r"tracing\.url"):
        Telemetry.of(with_url(url), HandClock(), Counting())


async def test_hosts_that_are_named_are_told() -> None:
    """And no others; outside of a trace nobody is."""
    telemetry = Telemetry.of(with_url("http://127.0.0.1:9/v1/traces"), HandClock(), Counting())
    assert telemetry.outgoing("traced.example") is None
    with telemetry.watch.stage("effects"):
        assert telemetry.outgoing("traced.example") == traceparent() is not None
        assert telemetry.outgoing("other.example") is None
    assert telemetry.tracer is not None
    works = telemetry.works()
    for work in works:
        work.close()
    assert len(works) == 2
    traces = telemetry.traces()
    assert traces is not None
    assert (traces.ended, traces.waiting) == (1, 1)
    telemetry.tracer.take(1)  # nobody listens there
    await telemetry.close()
