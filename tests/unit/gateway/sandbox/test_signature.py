"""hook.sig: who ships a hook, and each way in which a signature is not its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.audit.checkpoint import sign_note
from engine.audit.keys import Ed25519Signer, VerifierKey
from engine.audit.verify.note import read_key
from gateway.errors import HookRefusedError
from gateway.sandbox.files import HookFiles
from gateway.sandbox.hooks import load_hook
from gateway.sandbox.signature import publisher_of, sign_hook
from tests.hook_folders import ACME, OTHER, STRANGER, files_of, manifest_of, publisher, signed, write_folder

BOTH = [publisher(ACME), publisher(OTHER)]


def refusal(files: HookFiles, trusted: list = BOTH) -> str:
    with pytest.raises(HookRefusedError) as caught:
        publisher_of(files, trusted)
    return caught.value.code


def note_over(text: str, signer: Ed25519Signer = ACME) -> bytes:
    return sign_note(text.encode(), signer, VerifierKey.parse(signer.verifier_key()))


def test_the_one_who_signed_is_the_publisher() -> None:
    """Whatever the order of the configuration, the key decides; a screen, which has no schema, is signed likewise."""
    for signer in (ACME, OTHER):
        for kind in ("step", "screen", "rewrite", "observe"):
            assert publisher_of(files_of(signer=signer, kind=kind), BOTH).name == signer.name


def test_the_note_is_what_other_tools_make() -> None:
    """The text is the header, the name with the version, and a line that `sha256sum` could have written for each."""
    text, _, signatures = sign_hook(files_of(), ACME).decode().partition("\n\n")
    lines = text.split("\n")
    assert lines[:2] == ["missiongate.hook/v1", "resize 1.0.0"]
    assert [line.split()[0::2] for line in lines[2:]] == [
        ["sha256", "hook.toml"],
        ["sha256", "module.wasm"],
        ["sha256", "parameters.schema.json"],
    ]
    assert signatures.startswith("— acme.example/hooks ")


def test_the_offline_verifiers_note_code_reads_the_same_key() -> None:
    """A verifier key of `keys new` is one for both readers of notes that there are."""
    assert read_key(ACME.verifier_key()).name == b"acme.example/hooks"


def test_without_a_trusted_signature_nothing_is_accepted() -> None:
    """No signature, a stranger's, one of nobody's configuration: three codes, and all are a no."""
    assert refusal(files_of(signer=None)) == "hook.unsigned"
    assert refusal(files_of(signer=STRANGER)) == "hook.publisher_untrusted"
    assert refusal(files_of(), []) == "hook.publisher_untrusted"


def test_a_key_of_the_same_name_is_not_the_same_key() -> None:
    """The name is part of the key's id, and so is the key: a stranger who takes the name gains nothing."""
    twin = Ed25519Signer(ACME.name, bytes(32))
    assert refusal(files_of(signer=twin)) == "hook.publisher_untrusted"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"manifest": manifest_of() + b"# a comment\n"}, "hook.signature_manifest"),
        ({"manifest": manifest_of(version="1.0.1")}, "hook.signature_version"),
        ({"manifest": manifest_of(name="resizer")}, "hook.signature_name"),
        ({"module": files_of().module + b"\0"}, "hook.signature_module"),
        ({"schema": b"{}"}, "hook.signature_schema"),
    ],
    ids=["manifest", "version", "name", "module", "schema"],
)
def test_a_changed_file_is_named(changes: dict[str, bytes], code: str) -> None:
    """Each file that is not the one that was signed has a code of its own, and so have version and name."""
    assert refusal(replace(files_of(), **changes)) == code


@pytest.mark.parametrize(
    "text",
    [
        "missiongate.hook/v2\nresize 1.0.0\n",
        "missiongate.hook/v1\nresize 1.0.0\n",
        "example.com/log\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        "\n",
    ],
    ids=["another header", "too few lines", "a checkpoint", "nothing"],
)
def test_a_trusted_signature_of_something_else_is_none_of_a_hook(text: str) -> None:
    """A key that signs other things too cannot have signed a hook by accident."""
    assert refusal(replace(files_of(), signature=note_over(text))) == "hook.signature_malformed"


def test_lines_beyond_those_of_the_files_are_refused() -> None:
    """The text is compared to the letter: nothing may hide behind its end."""
    text = sign_hook(files_of(), ACME).decode().partition("\n\n")[0] + "\nsha256 " + "0" * 64 + " other\n"
    assert refusal(replace(files_of(), signature=note_over(text))) == "hook.signature_malformed"


def test_a_wrong_signature_of_a_trusted_key_is_not_passed_over() -> None:
    """One who signs badly is told so; it is not taken for a stranger."""
    note = files_of().signature or b""
    foreign = replace(files_of(), signature=note.replace(b"resize 1.0.0", b"resize 1.0.1"))
    assert refusal(foreign) == "hook.signature_invalid"


@pytest.mark.parametrize("note", [b"", b"x", b"\xff\xff", b"a\n\nb\n", b"\x00\n\n", b"\n" * 70_000])
def test_what_is_no_note_is_refused(note: bytes) -> None:
    """Bytes of any kind in hook.sig are a refusal, never an error of ours."""
    assert refusal(replace(files_of(), signature=note)) == "hook.signature_malformed"


def test_two_publishers_of_one_hook_are_none() -> None:
    """Whose workers it should run in would be a matter of order."""
    first, second = sign_hook(files_of(), ACME), sign_hook(files_of(), OTHER)
    both = first + second.rpartition(b"\n\n")[2]
    assert refusal(replace(files_of(), signature=both)) == "hook.signature_ambiguous"
    assert publisher_of(replace(files_of(), signature=both), BOTH[:1]).name == ACME.name


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"kinds": frozenset({"screen"})}, "hook.publisher_kind"),
        ({"names": ("acme_*", "res")}, "hook.publisher_name"),
        ({"effects": ("file.*",)}, "hook.publisher_effect"),
        ({"effects": ("http.reques", "http")}, "hook.publisher_effect"),
        ({"kinds": frozenset({"step"}), "names": ("res*",), "effects": ("http.*",)}, ""),
        ({"names": ("*",), "effects": ("http.request",)}, ""),
    ],
)
def test_a_publisher_ships_no_more_than_it_may(limits: dict[str, object], code: str) -> None:
    """Kinds, names and effects are held to the configuration's limits; a name without `*` is that name alone."""
    files = files_of(effects='"http.request"')
    trusted = [publisher(ACME, **limits)]
    if code:
        assert refusal(files, trusted) == code
    else:
        assert publisher_of(files, trusted).name == ACME.name


def test_a_hook_of_the_configuration_belongs_to_who_signed_it(tmp_path: Path) -> None:
    """With a trusted signature it is the publisher's, with a stranger's or none the site's own; a wrong one is a no."""
    assert load_hook(write_folder(tmp_path / "a", files_of()), publishers=BOTH).publisher == ACME.name
    assert load_hook(write_folder(tmp_path / "b", files_of(signer=STRANGER)), publishers=BOTH).publisher == "site"
    assert load_hook(write_folder(tmp_path / "c", files_of(signer=None)), publishers=BOTH).publisher == "site"
    assert load_hook(write_folder(tmp_path / "d", files_of())).publisher == "site"
    folder = write_folder(tmp_path / "e", replace(files_of(), schema=b"{}"))
    with pytest.raises(HookRefusedError) as caught:
        load_hook(folder, publishers=BOTH)
    assert caught.value.code == "hook.signature_schema"


def test_a_signature_that_cannot_be_read_is_not_one_that_is_missing(tmp_path: Path) -> None:
    """A link into nowhere, or a folder, in the place of hook.sig refuses the hook."""
    folder = write_folder(tmp_path / "a", files_of(signer=None))
    (folder / "hook.sig").symlink_to("nowhere")
    with pytest.raises(HookRefusedError) as caught:
        load_hook(folder, publishers=BOTH)
    assert (caught.value.code, caught.value.field) == ("hook.unreadable", "hook.sig")


def test_signing_again_replaces_nothing_of_the_hook() -> None:
    """Ed25519 is deterministic: the same files and key give the same note."""
    assert signed(files_of(), ACME) == files_of()
