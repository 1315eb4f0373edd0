"""`[policy]` of the configuration: where bundles come from, what answers from them, and what is kept of answers."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.section import Section


class BundleKeyConfig(Section):
    """A public key that bundles may be signed with."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$")]
    algorithm: Literal["EdDSA", "ES256", "RS256"]
    file: str  # PEM
    scope: str = ""


class BundlesConfig(Section):
    """What a bundle has to be, how often its source is asked, and how many are kept."""

    keys: list[BundleKeyConfig] = Field(default_factory=list, max_length=32)
    accept_unsigned_from_url: bool = False
    token_file: str = ""  # bearer token for a source that is a URL
    ca_file: str = ""  # instead of the system's authorities
    poll_seconds: Annotated[float, Field(ge=1, le=86_400)] | None = None  # none: a URL every 30 s, files at the start
    stale_seconds_max: Annotated[float, Field(ge=1, le=31_536_000)] | None = None  # none: never stale
    on_stale: Literal["serve", "deny"] = "serve"
    kept_max: Annotated[int, Field(ge=2, le=1_000)] = 32


class OpaConfig(Section):
    """A real OPA that answers: where it listens, and how it is spoken to."""

    url: Annotated[str, Field(pattern=r"^(?:https?://[^\s?#]+|unix:///[^\s?#]+)$")] = "http://127.0.0.1:8181"
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    token_file: str = ""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    activation_seconds: Annotated[float, Field(gt=0, le=3_600)] = 60.0  # until it has a new bundle


class DecisionLogConfig(Section):
    """OPA's decision log: to a file, to a URL, or to none of them."""

    file: str = ""
    url: str = ""
    token_file: str = ""


class DecisionsConfig(Section):
    """What is kept of decisions: their documents, sealed, for replays; and answers, for the same document again."""

    record: Literal["all", "denied", "none"] = "all"
    kept_days: Annotated[int, Field(ge=1, le=36_500)] = 30
    kept_max: Annotated[int, Field(ge=1_000, le=100_000_000)] = 1_000_000
    cache_entries_max: Annotated[int, Field(ge=0, le=10_000_000)] = 10_000  # 0: no cache
    log: DecisionLogConfig = Field(default_factory=DecisionLogConfig)


class PolicyConfig(Section):
    """The whole table."""

    source: Annotated[str, Field(min_length=1)] = "policies"  # folder, .tar.gz or http(s) URL of the bundle
    engine: Literal["regorus", "opa"] = "regorus"
    mode: Literal["enforce", "dry_run"] = "enforce"
    shadow: str = ""  # folder or .tar.gz of a second bundle, which is asked too and decides nothing
    bundles: BundlesConfig = Field(default_factory=BundlesConfig)
    opa: OpaConfig = Field(default_factory=OpaConfig)
    decisions: DecisionsConfig = Field(default_factory=DecisionsConfig)
