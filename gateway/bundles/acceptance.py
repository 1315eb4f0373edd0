"""What a bundle has to be before it may decide: verified, vetted, whole, and no step back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.bundles.entry import Mark
from gateway.bundles.sources import BundleSource
from gateway.errors import ConfigurationError, PolicyInvalidError
from gateway.policy.bundle import Bundle, EngineName

if TYPE_CHECKING:
    from gateway.policy.signatures import BundleKey


def _nothing_more(_: Bundle) -> None:
    """Ask nothing more of a bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The rules of this gateway for bundles, wherever they come from."""

    engine: EngineName = "regorus"
    keys: "tuple[BundleKey, ...]" = ()
    unsigned_from_url: bool = False
    check: Callable[[Bundle], None] = _nothing_more  # what the host needs of it as well; raises PolicyInvalidError

    def check_source(self, source: BundleSource) -> None:
        """Refuse a server whose bundles nobody signs, unless the operator says so and nobody else can be the server.

        Raises:
            ConfigurationError: `config.policy_source`.
        """
        if self.keys or not source.remote:
            return
        if not self.unsigned_from_url:
            message = "policy.bundles.keys: a bundle from a URL has to be signed by a key that is configured"
        elif not source.protected:
            message = "policy.source: without keys the URL must be https, or this machine's"
        else:
            return
        raise ConfigurationError(message, code="config.policy_source")

    def read(self, archive: bytes) -> Bundle:
        """Return the bundle of an archive, if it may decide; takes milliseconds to seconds.

        Raises:
            PolicyInvalidError: it may not.
        """
        bundle = Bundle.from_archive(archive, engine=self.engine, keys=self.keys)
        self.check(bundle)
        return bundle

    def check_forward(self, bundle: Bundle, mark: Mark | None, source: BundleSource) -> None:
        """Refuse what comes by itself and is older than what was in force, or cannot be told from it.

        A signature holds for ever. Without a number under it, whoever stands in the place of the server could bring an
        old policy back, so a server's signed bundle has to have one.

        Raises:
            PolicyInvalidError: `policy.no_sequence`, `policy.older_revision`.
        """
        number = bundle.sequence
        if number is None and source.remote and self.keys:
            message = "a signed bundle from a URL has a whole number metadata.missiongate.sequence, which grows"
            raise PolicyInvalidError(message, code="policy.no_sequence", file=".manifest")
        if mark is None:
            return
        if number is None:
            message = f"it has no sequence, and {mark.sequence} was in force"
        elif number < mark.sequence:
            message = f"its sequence is {number}, and {mark.sequence} was in force"
        elif number == mark.sequence and bundle.digest != mark.digest:
            message = f"its sequence is {number}, and another bundle with that number was in force"
        else:
            return
        raise PolicyInvalidError(message, code="policy.older_revision", file=".manifest")


def newer(mark: Mark | None, bundle: Bundle) -> Mark | None:
    """Return the mark after `bundle` was put in force; only a person's word takes one back."""
    if bundle.sequence is None or (mark is not None and bundle.sequence < mark.sequence):
        return mark
    return Mark(sequence=bundle.sequence, digest=bundle.digest)
