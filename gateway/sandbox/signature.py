"""hook.sig: who ships a hook, as a C2SP signed note over its name, its version and the SHA-256 of each file.

The note's text is made anew from the files and compared, never read: a byte that changed in any of them, or a file that
was swapped, is found by comparing lines. Source: wasm-hooks/abi.md, "The signature"; C2SP signed-note.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from engine.audit.checkpoint import CheckpointError, NoteSignatureError, NoteUnsignedError, open_note, sign_note
from engine.audit.keys import Signer, VerifierKey
from gateway.errors import HookRefusedError
from gateway.sandbox.files import MANIFEST_NAME, MODULE_NAME, SIGNATURE_NAME, HookFiles
from gateway.sandbox.manifest import Manifest, parse_manifest

HEADER: Final = "missiongate.hook/v1"
BUILTIN: Final = "builtin"  # the publisher of what the package brings
SITE: Final = "site"  # the publisher of what the configuration pins
RESERVED: Final = frozenset({BUILTIN, SITE})  # no key may have such a name


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Whose signature is accepted, and for what. A limit that is empty is none.

    Patterns are a name, or the beginning of one and `*`.
    """

    key: VerifierKey
    kinds: frozenset[str] = frozenset()
    effects: tuple[str, ...] = ()  # patterns
    names: tuple[str, ...] = ()  # patterns

    @property
    def name(self) -> str:
        """The key's name."""
        return self.key.name

    def check(self, manifest: Manifest) -> None:
        """Return if the publisher may ship such a hook.

        Raises:
            HookRefusedError: `hook.publisher_kind`, `hook.publisher_name`, `hook.publisher_effect`.
        """
        if self.kinds and manifest.kind not in self.kinds:
            raise self._beyond("kind", manifest.kind)
        if self.names and not _fits(manifest.name, self.names):
            raise self._beyond("name", manifest.name)
        for effect in manifest.effects:
            if self.effects and not _fits(effect, self.effects):
                raise self._beyond("effect", effect)

    def _beyond(self, what: str, value: str) -> HookRefusedError:
        field = "effects" if what == "effect" else what
        message = f"{field}: the publisher {self.name} may not ship the {what} {value!r}; see publishers"
        return HookRefusedError(message, code=f"hook.publisher_{what}", field=field)


def sign_hook(files: HookFiles, signer: Signer) -> bytes:
    """Return hook.sig for `files`.

    Raises:
        HookRefusedError: as `parse_manifest`.
    """
    text = "".join(f"{line}\n" for _, line in _lines(parse_manifest(files.manifest), files))
    return sign_note(text.encode(), signer, VerifierKey.parse(signer.verifier_key()))


def publisher_of(files: HookFiles, publishers: Sequence[Publisher]) -> Publisher:
    """Return the one trusted publisher who signed `files`, and who may ship them.

    Raises:
        HookRefusedError: `hook.unsigned`, there is no signature; `hook.signature_malformed`; `hook.signature_invalid`,
            a trusted key's signature does not match; `hook.publisher_untrusted`, nobody trusted has signed;
            `hook.signature_ambiguous`, two have; `hook.signature_name`, `_version`, `_manifest`, `_module`, `_schema`,
            it is of another such; or what `Publisher.check` refuses.
    """
    if files.signature is None:
        raise _refused("unsigned", "the hook has no signature, and a hook is published with one")
    manifest = parse_manifest(files.manifest)
    text, found = _opened(files.signature, publishers)
    _compare(text, manifest, files)
    if len(found) > 1:
        names = ", ".join(sorted(publisher.name for publisher in found))
        raise _refused("signature_ambiguous", f"more than one trusted publisher has signed: {names}")
    found[0].check(manifest)
    return found[0]


def _opened(note: bytes, publishers: Sequence[Publisher]) -> tuple[bytes, list[Publisher]]:
    """Return the note's text, and who of the publishers has signed it: at least one."""
    text, found = b"", []
    for publisher in publishers:
        try:
            text = open_note(note, publisher.key)
        except NoteUnsignedError:
            continue
        except NoteSignatureError as error:
            message = f"the signature of {publisher.name} is wrong: the signed text or the signature changed"
            raise _refused("signature_invalid", message) from error
        except CheckpointError as error:
            raise _refused("signature_malformed", str(error)) from error
        found.append(publisher)
    if not found:
        raise _refused("publisher_untrusted", "no key of the configuration's publishers has signed it")
    return text, found


def _compare(text: bytes, manifest: Manifest, files: HookFiles) -> None:
    """Require that the signed text is that of these files, to the letter; name the first difference."""
    signed = text.decode().split("\n")
    expected = list(_lines(manifest, files))
    if signed[0] != HEADER or len(signed) != len(expected) + 1:
        raise _refused("signature_malformed", f"the signed text is not the {len(expected)} lines of a {HEADER}")
    if signed[1].partition(" ")[0] != manifest.name:
        raise _refused("signature_name", "it is the signature of a hook of another name")
    for line, (what, wanted) in zip(signed, expected, strict=False):
        if line != wanted:
            raise _refused(f"signature_{what}", f"it is the signature of another {what}")


def _lines(manifest: Manifest, files: HookFiles) -> Iterator[tuple[str, str]]:
    """Yield the lines that are signed, each with what it is about."""
    yield "malformed", HEADER
    yield "version", f"{manifest.name} {manifest.version}"
    yield "manifest", _digest_line(files.manifest, MANIFEST_NAME)
    yield "module", _digest_line(files.module, MODULE_NAME)
    if manifest.schema is not None:
        yield "schema", _digest_line(files.schema or b"", manifest.schema)


def _digest_line(data: bytes, name: str) -> str:
    return f"sha256 {hashlib.sha256(data).hexdigest()} {name}"


def _fits(value: str, patterns: Sequence[str]) -> bool:
    return any(value.startswith(p[:-1]) if p.endswith("*") else value == p for p in patterns)


def _refused(rule: str, message: str) -> HookRefusedError:
    return HookRefusedError(f"{SIGNATURE_NAME}: {message}", code=f"hook.{rule}", field=SIGNATURE_NAME)
