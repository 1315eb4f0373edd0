"""The pinned OPA, for tests that compare with it: found, checked for its version, and asked over a Unix socket."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VERSION = (ROOT / "tools" / "opa.version").read_text().strip().removeprefix("v")
_START_SECONDS = 20.0


def find() -> tuple[str | None, str]:
    """Return the path of the pinned OPA, or None and why there is none."""
    go = Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin" / "opa"
    candidates = [ROOT / ".tools" / "bin" / "opa", shutil.which("opa"), go]
    seen = []
    for candidate in candidates:
        if candidate is None or not Path(candidate).is_file():
            continue
        words = subprocess.run([str(candidate), "version"], capture_output=True, check=False, text=True).stdout.split()
        if len(words) > 1 and words[1] == VERSION:
            return str(candidate), ""
        seen.append(f"{candidate} is {words[1] if len(words) > 1 else 'no OPA'}")
    return None, f"needs OPA {VERSION} (tools/install_opa.sh builds it): {'; '.join(seen) or 'none found'}"


class Opa:
    """A running server."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, rule: str, document: Any) -> tuple[bool, Any]:
        """Return whether the rule is defined for the input, and its value.

        Raises:
            ValueError: OPA reports an error.
        """
        path = "/v1/" + rule.replace(".", "/")
        status, answer = self._call("POST", path, {"input": document})
        if status != http.client.OK:
            raise ValueError(answer.get("message", "") + str(answer.get("errors", ""))[:500])
        return "result" in answer, answer.get("result")

    def ask_raw(self, rule: str, document: Any) -> Any:
        """Return the value of a rule that is always defined.

        Raises:
            ValueError: OPA reports an error, or the rule is undefined.
        """
        defined, value = self.ask(rule, document)
        if not defined:
            raise ValueError(f"{rule} is undefined")
        return value

    def _call(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("opa")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self._path))
            text = body if isinstance(body, str) else json.dumps(body)
            kind = "text/plain" if isinstance(body, str) else "application/json"
            connection.request(method, path, text.encode(), {"Content-Type": kind})
            response = connection.getresponse()
            answer = response.read()
            return response.status, json.loads(answer) if answer else {}
        finally:
            connection.close()


@contextmanager
def serving(program: str, folder: Path, *arguments: str) -> Iterator[Opa]:
    """Run `opa run --server` on a socket in `folder` for as long as the block lasts."""
    path = folder / "opa.sock"
    with (folder / "opa.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: TID251 - a peer, not a worker
            [program, "run", "--server", "--addr", f"unix://{path}", "--disable-telemetry", *arguments],
            stdout=log,
            stderr=log,
        )
    try:
        opa = Opa(path)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                opa.ask("data.nothing", {})  # `data` would evaluate everything, and might end in an error
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError((folder / "opa.log").read_text()[-2_000:]) from None
                time.sleep(0.05)
        yield opa
    finally:
        process.terminate()
        process.wait(10)
