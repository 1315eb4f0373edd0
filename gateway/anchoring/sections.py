"""`[[audit.witnesses]]` and `[[audit.anchors]]` of the configuration."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from engine.audit.witness import WitnessKey
from gateway.addresses import is_loopback_host
from gateway.section import Section


class WitnessSection(Section):
    """A witness: where it is asked, and the key that its cosignatures are verified with."""

    url: str
    key: str
    ca_file: str = ""  # instead of the system's authorities

    @field_validator("url")
    @classmethod
    def _url_is_protected(cls, url: str) -> str:
        return checked_url(url, "an answer in the clear could raise an alarm that stops the log")

    @field_validator("key")
    @classmethod
    def _key_is_one(cls, key: str) -> str:
        WitnessKey.parse(key)
        return key

    def witness_key(self) -> WitnessKey:
        """Return the key."""
        return WitnessKey.parse(self.key)


class AnchorSection(Section):
    """A second place for checkpoints: a file, or a URL that takes PUT."""

    file: str = ""
    url: str = ""
    token_file: str = ""
    ca_file: str = ""
    seconds: Annotated[float, Field(ge=1, le=86_400)] = 60.0  # at most one checkpoint in each

    @field_validator("url")
    @classmethod
    def _url_is_protected(cls, url: str) -> str:
        return checked_url(url, "who reads the token on its way could write there") if url else url

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if bool(self.file) == bool(self.url):
            raise ValueError("write either file or url")
        if self.file and (self.token_file or self.ca_file):
            raise ValueError("token_file and ca_file are for a url")
        return self


def checked_url(url: str, why: str) -> str:
    """Return `url`, which is https, or http to this machine.

    Raises:
        ValueError: it is neither; it has a user, a query or a fragment, or names no host.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, known = urlsplit(""), False
    if not known or parts.username is not None or parts.query or parts.fragment or not url.isascii() or " " in url:
        raise ValueError("must be http(s)://host/path, without a user, a query or a fragment")
    if parts.scheme != "https" and not is_loopback_host(parts.hostname or ""):
        raise ValueError(f"must be https, or on this machine: {why}")
    return url
