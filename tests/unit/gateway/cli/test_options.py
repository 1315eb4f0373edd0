"""Which gateway a command calls, over what, and as whom: the same options wherever a gateway can be called."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import grpc
import pytest
import typer

from gateway.cli.app import app
from gateway.cli.tree import LazyCommand
from gateway.v1 import audit_pb2, mission_pb2
from tests.certificates import Authority
from tests.cli_runner import run
from tests.scripted_server import scripted

LIST = mission_pb2.ListMissionsResponse(missions=[mission_pb2.MissionView(mission_id="m-over-it", state=3)])
TURNS: Any = {"ListMissions": [[LIST]], "GetCheckpoint": [[audit_pb2.GetCheckpointResponse(checkpoint=b"note\n")]]}
TOKEN = {"MISSIONGATE_TOKEN": "ann-token"}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that name it."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if isinstance(command, LazyCommand):
            yield (*path, name), command.load()
        else:
            yield from commands(command, (*path, name))


def options_of(command: click.Command) -> set[str]:
    """Return the options of a command."""
    return {option for parameter in command.params for option in parameter.opts}


def test_every_command_that_calls_a_gateway_takes_the_same_options() -> None:
    """The address, the token and the certificates: none was forgotten, and none takes one alone."""
    calling = {path: options_of(command) for path, command in commands() if "--server" in options_of(command)}
    wanted = {"--server", "--token-file", "--ca", "--cert", "--cert-key"}
    assert {path: wanted - found for path, found in calling.items() if wanted - found} == {}
    assert len(calling) >= 25
    assert {("submit",), ("plan",), ("audit", "export"), ("hook", "push"), ("policy", "push")} <= set(calling)


def test_the_certificates_options_secure_the_channel(tmp_path: Path) -> None:
    """With them, or with their variables; for a command that may do without a gateway as well."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("both")
    required = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())], authority.file.read_bytes(), require_client_auth=True
    )
    options = ("--ca", authority.file, "--cert", certificate, "--cert-key", key)
    with scripted(TURNS, credentials=required) as (address, script):
        assert "m-over-it" in run("list", "--server", address, *options, env=TOKEN).out
        named = {"MISSIONGATE_CA": authority.file, "MISSIONGATE_CERT": certificate, "MISSIONGATE_CERT_KEY": key}
        env = {**TOKEN, **{name: str(path) for name, path in named.items()}}
        assert run("list", "--server", address, env=env).code == 0
        assert run("audit", "checkpoint", "--server", address, *options, env=TOKEN).out == "note\n"
        assert run("list", "--server", address, *options[:2], env=TOKEN).code == 4
        assert run("list", "--server", address, env=TOKEN).code == 4
    assert len(script.asked) == 3


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--cert", "{crt}"), "tls.half"),
        (("--cert-key", "{key}"), "tls.half"),
        (("--ca", "{none}"), "tls.unreadable"),
        (("--ca", "{key}"), "tls.no_certificate"),
        (("--cert", "{crt}", "--cert-key", "{crt}"), "tls.no_key"),
        (("--ca", "{crt}", "--server", "unix:/x"), "server.tls"),
    ],
)
def test_certificates_that_cannot_be_used_are_usage(tmp_path: Path, options: tuple[str, ...], code: str) -> None:
    """2, before anything is dialled; nothing of a key is printed."""
    certificate, key = Authority(tmp_path).issue("client")
    names = {"crt": certificate, "key": key, "none": tmp_path / "none"}
    done = run("list", *(option.format(**names) for option in options), "-o", "json", env=TOKEN)
    assert (done.code, done.json["errors"][0]["code"]) == (2, code)
    assert "PRIVATE" not in done.out + done.err


def test_a_socket_is_an_address(tmp_path: Path) -> None:
    """Given, or in the variable."""
    with scripted(TURNS, listen=f"unix:{tmp_path}/s") as (address, script):
        assert run("list", "--server", address, env=TOKEN).code == 0
        assert run("list", env={**TOKEN, "MISSIONGATE_SERVER": address}).code == 0
    assert [each.metadata["authorization"] for each in script.asked] == ["Bearer ann-token"] * 2
