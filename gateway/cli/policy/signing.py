"""policy sign: from a folder to a signed bundle that gateways and OPA verify."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.cli.options import OutputOption
from gateway.cli.output import OUT, Output, fail, print_facts, print_json, said
from gateway.cli.policy.bundles import made
from gateway.errors import ConfigurationError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import read_path, write_archive
from gateway.policy.bundle_parts import SIGNATURES, with_manifest
from gateway.policy.signatures import sign as signature_of

_KEY_BYTES_MAX: Final = 64 * 1024

SourceArgument = Annotated[
    Path, typer.Argument(help="The bundle: a folder or a .tar.gz.", metavar="BUNDLE", show_default=False)
]
KeyOption = Annotated[
    Path, typer.Option("--key", help="Private key, PEM: Ed25519, P-256, or RSA of 2048 bits or more.", metavar="FILE")
]
KeyIdOption = Annotated[
    str, typer.Option("--key-id", help="The key's id in policy.bundles.keys of the gateways.", metavar="ID")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Write a .tar.gz with the signature in it.", metavar="FILE", show_default="into BUNDLE"),
]
RevisionOption = Annotated[
    str | None, typer.Option(help="Write this revision into the archive's manifest.", show_default=False)
]
SequenceOption = Annotated[
    int | None,
    typer.Option(help="Likewise its sequence: gateways take no lower one from a URL.", min=0, show_default=False),
]


def sign(
    bundle: SourceArgument,
    *,
    key: KeyOption,
    key_id: KeyIdOption,
    scope: Annotated[str, typer.Option(help="What the signature is good for; OPA's own default is none.")] = "",
    out: OutOption = None,
    revision: RevisionOption = None,
    sequence: SequenceOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Sign a bundle as OPA does: into .signatures.json of its folder, or an archive; what is there is replaced."""
    if out is None and (not bundle.is_dir() or revision is not None or sequence is not None):
        message = "--out: an archive, and one with another revision or sequence, is written to a file of its own"
        fail(ConfigurationError(message, code="policy.needs_out"), output)
    facts = made(output, lambda: _signed(bundle, key, key_id, scope, out, revision, sequence))
    if output is Output.JSON:
        print_json(dict(facts))
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"the bundle {facts['revision']} is signed for {key_id}")))
    print_facts({name: str(value) for name, value in facts.items() if value is not None})


def _signed(
    source: Path, key: Path, key_id: str, scope: str, out: Path | None, revision: str | None, sequence: int | None
) -> Mapping[str, str | int | None]:
    """Sign, write, and return what was signed; a bundle that no gateway would load is not signed."""
    files = {name: content for name, content in read_path(source).items() if name != SIGNATURES}
    if revision is not None or sequence is not None:
        files = with_manifest(files, revision=revision, sequence=sequence)
    bundle = Bundle.from_files(files, engine="opa")  # what only regorus refuses is for `policy check` to tell
    try:
        with key.open("rb") as file:
            pem = file.read(_KEY_BYTES_MAX)
        signature = signature_of(files, pem, key_id=key_id, scope=scope)
    except OSError as error:
        raise ConfigurationError(f"--key: {key}: {error.strerror}", code="policy.key") from error
    except ValueError as error:
        raise ConfigurationError(f"--key: {key} {error}", code="policy.key") from error
    if out is None:
        _replace(source / SIGNATURES, signature)
    else:
        _replace(out, write_archive({**files, SIGNATURES: signature}))
    written = source / SIGNATURES if out is None else out
    return {
        "revision": bundle.revision,
        "sequence": bundle.sequence,
        "digest": bundle.digest,
        "files": len(files),
        "written": str(written),
    }


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole, or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", code="policy.unwritable") from error
