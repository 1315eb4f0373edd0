"""A hook's folder on its author's machine: manifest, source in one of four languages, test cases."""

from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError
from gateway.sandbox.files import MANIFEST_NAME, MODULE_NAME
from gateway.sandbox.manifest import MANIFEST_BYTES_MAX, Manifest, parse_manifest

CASES_NAME: Final = "cases.json"
SDK_FOLDER: Final = "sdk"  # of a hook that brings its own; `hook new` puts one there


class Language(StrEnum):
    """What a hook may be written in with an SDK of ours."""

    ZIG = "zig"
    C = "c"
    ASSEMBLYSCRIPT = "assemblyscript"
    RUST = "rust"

    @property
    def source(self) -> str:
        """The file that the language is told by."""
        return _SOURCES[self]


_SOURCES: Final = {
    Language.ZIG: "main.zig",
    Language.C: "main.c",
    Language.ASSEMBLYSCRIPT: "main.ts",
    Language.RUST: "main.rs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFolder:
    """A folder with a manifest that is in order."""

    path: Path  # absolute
    manifest: Manifest
    language: Language | None  # None: it holds a module, and no source that is known

    @property
    def module(self) -> Path:
        """Where the module is, or will be."""
        return self.path / MODULE_NAME

    @property
    def sdk(self) -> Path:
        """The SDKs to build with: the folder's own, else those that came with this program."""
        own = self.path / SDK_FOLDER
        return own if own.is_dir() else packaged_sdk()


def open_folder(path: Path) -> HookFolder:
    """Return the hook in `path`.

    Raises:
        ConfigurationError: `hook.folder`, there is no such folder, no manifest, or source in two languages.
        HookRefusedError: what `parse_manifest` refuses.
    """
    path = path.resolve()
    manifest = parse_manifest(read_file(path / MANIFEST_NAME, MANIFEST_BYTES_MAX))
    languages = [language for language in Language if (path / language.source).is_file()]
    if len(languages) > 1:
        names = ", ".join(language.source for language in languages)
        raise ConfigurationError(f"{path.name} holds {names}: one of them has to go", code="hook.folder")
    return HookFolder(path=path, manifest=manifest, language=languages[0] if languages else None)


def packaged_sdk() -> Path:
    """Return the folder of the SDKs: in the package, or in the checkout that it was installed from."""
    packaged = Path(str(files("gateway"))) / "_sdk"
    return packaged if packaged.is_dir() else Path(str(files("gateway"))).parent / "wasm-hooks" / "sdk"


def read_file(path: Path, bytes_max: int) -> bytes:
    """Return a file's bytes.

    Raises:
        ConfigurationError: `hook.folder`, it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", code="hook.folder") from error
    if len(data) > bytes_max:
        raise ConfigurationError(f"{path}: has more than {bytes_max} bytes", code="hook.folder")
    return data
