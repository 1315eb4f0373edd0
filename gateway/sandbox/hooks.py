"""Loads hooks from folders: a manifest, a parameter schema and a module, each read strictly and within bounds.

The module's bytes are only measured and hashed here; whether they are a module that may run is `compile`'s to say.
"""

import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

from engine.errors import MissionInvalidError
from engine.json_text import read_json
from engine.mission import MissionLimits
from engine.values import JsonObject
from gateway.errors import ConfigurationError, HookRefusedError
from gateway.sandbox.compile import MODULE_BYTES_MAX

MANIFEST_NAME: Final = "hook.toml"
MODULE_NAME: Final = "module.wasm"
MANIFEST_BYTES_MAX: Final = 64 * 1024
SCHEMA_BYTES_MAX: Final = 256 * 1024
EFFECTS_MAX: Final = 64
ABI_VERSION: Final = 1
