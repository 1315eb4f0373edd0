"""Bundles for the commands: which one is meant, its files as they are, and the vetted bundle itself."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from engine.errors import EngineError
from gateway.cli.output import Output, fail
from gateway.config import load_config
from gateway.policy.authoring.sources import Sources
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import read_path
from gateway.policy.rego_ast import Parse, parse_module
from gateway.rules import bundled_policies

_T = TypeVar("_T")

BundleArgument = Annotated[
    Path, typer.Argument(help="The bundle: a folder, or a .tar.gz.", metavar="BUNDLE", show_default="here")
]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        "-b",
        help="The bundle, a folder or .tar.gz; else the home's, or the default one.",
        metavar="BUNDLE",
    ),
]
BundleHomeOption = Annotated[
    Path | None, typer.Option("--home", envvar="MISSIONGATE_HOME", help="Take the bundle of this gateway's home.")
]


def bundle_path(bundle: Path | None, home: Path | None) -> Path:
    """Return where the bundle is that is meant: the one named, a home's, or the default one.

    Raises:
        ConfigurationError: the home's configuration is not in order.
    """
    if bundle is not None:
        return bundle
    return bundled_policies() if home is None else home / load_config(home).policy.source


def read_sources(path: Path) -> Sources:
    """Return all files of a bundle, whatever they say.

    Raises:
        PolicyInvalidError: there is no such bundle, or it holds what no bundle may: links, too much, too many.
    """
    return Sources(read_path(path))


def load_bundle(path: Path) -> Bundle:
    """Return the vetted bundle; nobody's signature is asked for, since nothing is decided by it.

    Raises:
        PolicyInvalidError: it is not accepted.
    """
    return vetted(read_sources(path))


def vetted(sources: Sources, parse: Parse = parse_module) -> Bundle:
    """Return the bundle that files are, vetted.

    Raises:
        PolicyInvalidError: it is not accepted.
    """
    return Bundle.from_files(sources.files, keys=None, parse=parse)


def made(output: Output, make: Callable[[], _T]) -> _T:
    """Return what `make` makes; print what goes wrong, and leave with its exit code."""
    try:
        return make()
    except EngineError as error:
        fail(error, output)


def quiet_workers() -> None:
    """Leave out what the log says of workers that are ended at a deadline: the command itself says it."""
    logging.getLogger("gateway.workers").setLevel(logging.ERROR)
