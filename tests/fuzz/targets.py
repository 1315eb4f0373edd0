"""What reads bytes of strangers, each as a function of bytes: it returns, or it raises the errors that it documents.

Anything else that comes out is a finding: another exception, a hang, a law that does not hold. A finding is mended, and
its input becomes a case of the corpus.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from google.protobuf.message import DecodeError

from engine.audit.checkpoint import Checkpoint
from engine.audit.key_ring import Rotation
from engine.audit.keys import VerifierKey
from engine.audit.seal import Seal
from engine.audit.verify.note import NoteError, read_key, read_note
from engine.audit.verify.proof import ProofError, read_proof
from engine.document import document_of, parse_document
from engine.errors import EngineError
from engine.loader import load_mission
from engine.mission import MissionLimits
from gateway.authn.jwks import KeySet, KeySetError
from gateway.constrained.data import rules_from
from gateway.errors import UnauthenticatedError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import read_archive, write_archive
from gateway.policy.decision import parse_decision
from gateway.policy.entrypoint import ENTRYPOINTS
from gateway.policy.rego_ast import parse_module
from gateway.policy.signatures import BundleKey, verify
from gateway.policy.yaml_data import parse_yaml
from gateway.rpc import forms
from gateway.rpc.errors import InternalError
from gateway.sandbox.abi import decode_step_output
from gateway.sandbox.abi_hooks import decode_observer, decode_rewrite, decode_screen
from gateway.sandbox.hooks import builtin_hooks
from gateway.sandbox.manifest import parse_manifest
from gateway.sandbox.shape import read_shape
from gateway.sandbox.wire import decode_answer
from gateway.sanitizer.sanitize import CHECKS, check_value
from gateway.sanitizer.schema import ParameterSchema
from gateway.store.paging import mission_before, token_after
from gateway.v1 import mission_pb2
from tests.bundle_keys import key
from tests.tokens_of_issuers import World as IssuerWorld

_T = TypeVar("_T")
BYTES_MAX: Final = 64 * 1024  # of one input: what grows with it shows in less
_LIMITS: Final = MissionLimits()
_KINDS: Final = tuple(hook.name for hook in builtin_hooks())
_SCHEMAS: Final = tuple(ParameterSchema.compile(hook.schema) for hook in builtin_hooks())
_TYPES: Final = sorted(CHECKS)
_KEYS: Final[tuple[BundleKey, ...]] = (key(),)
_CONSTRAINTS: Final = rules_from({})["policy.step"]


def document(data: bytes) -> None:
    """A mission's document, JSON or YAML: what is read is read again alike from a value."""
    found = parse_document(data, _LIMITS)
    assert document_of(found.value, _LIMITS).value == found.value


def mission(data: bytes) -> None:
    """A whole mission: a plan, or violations; the same bytes have one digest."""
    plan = load_mission(data, limits=_LIMITS, step_types=_KINDS, secrets=("token",))
    assert load_mission(data, limits=_LIMITS, step_types=_KINDS, secrets=("token",)).mission.digest() == (
        plan.mission.digest()
    )


def codec(data: bytes) -> None:
    """A Mission message as it comes over the wire."""
    try:
        message = mission_pb2.Mission.FromString(data)
    except DecodeError:
        return
    document_of(forms.mission_value(message, _LIMITS), _LIMITS)


def sanitizer(data: bytes) -> None:
    """A value of each type; the first byte says of which."""
    if data:
        check_value(_TYPES[data[0] % len(_TYPES)], data[1:].decode("utf-8", "surrogatepass"))


def parameters(data: bytes) -> None:
    """Parameters of each built-in step kind; the first byte says of which."""
    if data:
        value = parse_document(data[1:], _LIMITS).value
        schema = _SCHEMAS[data[0] % len(_SCHEMAS)]
        if isinstance(value, dict):
            assert schema.check(value, field="p") == schema.check(value, field="p")
            schema.check_draft(value, field="p")


def abi(data: bytes) -> None:
    """What modules answer, of each kind of hook; the first byte says of which."""
    if data:
        decode: tuple[Callable[[bytes], object], ...] = (
            decode_step_output,
            decode_screen,
            decode_observer,
            lambda answer: decode_rewrite(answer, "parameters"),
            lambda answer: decode_rewrite(answer, "output"),
            lambda answer: decode_answer(answer, _CONSTRAINTS),
        )
        decode[data[0] % len(decode)](data[1:])


def module(data: bytes) -> None:
    """A WebAssembly module, before anything compiles it."""
    _takes(read_shape, data)


def manifest(data: bytes) -> None:
    """A hook's manifest."""
    parse_manifest(data)


def checkpoint(data: bytes) -> None:
    """A signed note, by the writer's code and by the verifier's: what is read is signed in one spelling."""
    try:
        note = read_note(data)
    except NoteError:
        note = None
    if note is not None and _takes(Checkpoint.parse, note.text):
        assert note.text.startswith(Checkpoint.parse(note.text).text())
    for parse in (Rotation.parse, Seal.parse):
        _takes(parse, data)


def verifier_key(data: bytes) -> None:
    """A verifier key: both readers take it, or both refuse it."""
    text = data.decode("utf-8", "surrogatepass")
    assert _takes(VerifierKey.parse, text) == _takes(read_key, text)


def proof(data: bytes) -> None:
    """A tlog proof, as an auditor is handed one."""
    read_proof(data)


def bundle(data: bytes) -> None:
    """The archive of a bundle: what is read is written and read alike, and vetted or refused."""
    files = read_archive(data)
    assert read_archive(write_archive(files)) == files
    Bundle.from_files(files, keys=None)


def signature(data: bytes) -> None:
    """The signatures of a bundle: a token in a file."""
    verify({".manifest": b"{}", ".signatures.json": data}, _KEYS)


def rego(data: bytes) -> None:
    """A policy file."""
    parse_module("p.rego", data.decode("utf-8", "replace"))


def policy_data(data: bytes) -> None:
    """A bundle's data as YAML."""
    parse_yaml(data, "data.yaml")


def decision(data: bytes) -> None:
    """What an engine answers: always a decision, and a yes only where it says so; the first byte is the entry point."""
    if data:
        found = parse_decision(data[1:], bundle="sha256:0", entrypoint=ENTRYPOINTS[data[0] % len(ENTRYPOINTS)])
        assert not found.allow or b"true" in data


def jwt(data: bytes) -> None:
    """A bearer token of an issuer: refused, since nobody but the issuer can sign one."""

    async def authenticate() -> None:
        world = IssuerWorld.of("ES256")
        await world.verifier.open()
        try:
            await world.verifier.authenticate(data.decode("latin-1"))
        finally:
            await world.verifier.close()

    try:
        asyncio.run(authenticate())
    except UnauthenticatedError:
        return
    raise AssertionError("a token that nobody has signed was accepted")


def jwks(data: bytes) -> None:
    """An issuer's key set: each key in it can be found again."""
    try:
        found = KeySet.parse(data)
    except KeySetError:
        return
    assert found.find("no such key", "ES256") is None


def page_token(data: bytes) -> None:
    """A page token: one spelling for each place."""
    text = data.decode("utf-8", "surrogatepass")
    assert token_after(mission_before(text)) == text


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        abi,
        bundle,
        checkpoint,
        codec,
        decision,
        document,
        jwks,
        jwt,
        manifest,
        mission,
        module,
        page_token,
        parameters,
        policy_data,
        proof,
        rego,
        sanitizer,
        signature,
        verifier_key,
    )
}


def assert_survives(name: str, data: bytes) -> None:
    """Run a target, and return unless it comes to something that it does not document."""
    try:
        TARGETS[name](data[:BYTES_MAX])
    except EngineError as error:
        _typed(error)
    except (NoteError, ProofError):
        pass
    except UnicodeDecodeError:
        if name not in {"sanitizer", "verifier_key", "page_token"}:  # which take texts, and whose bytes are none here
            raise


def _takes(read: Callable[[_T], object], value: _T) -> bool:
    """Return whether a reader takes a value; it refuses with an error of ours, or a ValueError in its own words."""
    try:
        read(value)
    except EngineError as error:
        _typed(error)
        return False
    except ValueError as error:
        ours = type(error).__module__.partition(".")[0] in {"engine", "gateway"}
        if type(error) is not ValueError and not ours:  # of a codec, or of a library: nobody has thought of it
            raise
        return False
    return True


def _typed(error: EngineError) -> None:
    """Return for an error that a client may be told: not one that is a bug by another name."""
    assert not isinstance(error, InternalError), error
    assert error.code != "internal", error
