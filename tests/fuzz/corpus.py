"""The saved inputs of each target: seeds to begin from, and whatever has ever broken something.

A line of `corpora/TARGET.jsonl` is one: `text`, or `base64` where it is none, how often that stands there
(`times`), and `why` it is saved.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent / "corpora"


@dataclass(frozen=True, slots=True)
class Case:
    """One saved input."""

    data: bytes
    why: str


def corpus(target: str) -> list[Case]:
    """Return what is saved of a target."""
    cases = []
    for line in (FOLDER / f"{target}.jsonl").read_text().splitlines():
        entry = json.loads(line)
        data = entry["text"].encode() if "text" in entry else base64.b64decode(entry["base64"], validate=True)
        cases.append(Case(data * entry.get("times", 1), entry["why"]))
    return cases


def save(target: str, data: bytes, why: str) -> None:
    """Add an input to the corpus of a target, once."""
    if any(case.data == data for case in corpus(target)):
        return
    try:
        shown = {"text": data.decode()}
    except UnicodeDecodeError:
        shown = {"base64": base64.b64encode(data).decode()}
    with (FOLDER / f"{target}.jsonl").open("a") as file:
        file.write(json.dumps({"why": why, **shown}) + "\n")
