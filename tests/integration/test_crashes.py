"""A gateway that is killed again and again, at random moments of missions with effects.

The service at the other end counts: whatever the gateway's own records say, an effect that took place twice is seen
there.
"""

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import randbelow
from typing import Any

import orjson
import pytest

from gateway.client import CallError, Client
from gateway.home import NewHome
from tests.depth import times
from tests.gateways import Program, calling, change_policy_data, events_of, new_home, verified
from tests.worlds import laws_hold, mission

KILLS = times(4, 100)
SUBMITTERS = 2
ENDING_SECONDS_MAX = 120


class Orders(Counter[str]):
    """How often each was placed, by its idempotency key."""

    def __init__(self) -> None:
        super().__init__()
        self.answering = threading.Event()  # while it is not set, an order that is counted waits for its answer
        self.answering.set()
        self.waiting = threading.Event()  # one does

    @contextmanager
    def one_unanswered(self) -> Iterator[None]:
        """Wait until an order was placed that gets no answer before the end of the block."""
        self.waiting.clear()
        self.answering.clear()
        try:
            assert self.waiting.wait(ENDING_SECONDS_MAX), "no order is placed"
            yield
        finally:
            self.answering.set()


class Counting(BaseHTTPRequestHandler):
    """Counts orders by their idempotency key, a moment before it answers."""

    orders: Orders

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.orders[self.headers["Idempotency-Key"]] += 1
        if not self.orders.answering.is_set():
            self.orders.waiting.set()
            self.orders.answering.wait(ENDING_SECONDS_MAX)
        time.sleep(0.002)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the gateway was killed
            self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def counting() -> Iterator[tuple[int, Orders]]:
    """Serve on a free loopback port, and give it and what is counted."""
    orders = Orders()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Counting,), {"orders": orders}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], orders
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def step(step_id: str, kind: str, *depends_on: str, parameters: Any, **fields: Any) -> dict[str, Any]:
    return {"id": step_id, "name": step_id, "step_type": kind, "depends_on": list(depends_on),
            "parameters": parameters, **fields}  # fmt: skip


def form(port: int) -> bytes:
    """Return a mission with orders one after the other, side by side, and in a part of it; and with files."""

    def order(step_id: str, *depends_on: str, what: str = "one", **fields: Any) -> dict[str, Any]:
        parameters = {"url": f"http://127.0.0.1:{port}/orders", "method": "POST", "body": what}
        return step(step_id, "http", *depends_on, parameters=parameters, **fields)

    part = mission(order("inner"), {"id": "kept", "name": "kept", "step_type": "create_file", "depends_on": ["inner"],
                                    "parameters": {"path": "kept.txt", "content": "inner"}})  # fmt: skip
    return orjson.dumps(
        mission(
            order("first"),
            step("note", "create_file", "first", parameters={"path": "note.txt", "content": "first"}),
            step("wait", "delay", "note", parameters={"ms": 20}),
            order("each", "wait", what="${item}", foreach={"items": ["a", "b", "c"]}),
            step("part", "mission", "wait", parameters={"mission": part}),
            order("last", "each", "part"),
            config={"fail_fast": False},
        )
    )


DOUBTED = {"effect.in_doubt", "effect.mission_failed", "foreach.item_failed"}  # of the step, a part, an item
ORDERS = 6  # of one mission that ends well: first, each three times, inner, last


class Submitting(threading.Thread):
    """Submits until the gateway is gone, and notes what it was told."""

    def __init__(self, program: Program, name: str, document: bytes) -> None:
        super().__init__(name=name)
        self.acknowledged: set[str] = set()
        self._program = program
        self._document = document

    def run(self) -> None:
        with calling(self._program.address, self._program.made) as client, contextlib.suppress(CallError):
            for n in range(10_000):
                self.acknowledged.add(client.submit(self._document, f"{self.name}-{n}").mission_id)
                for _ in range(2):
                    time.sleep(0.03)


def let_work(callers: Sequence[Submitting], missions: int) -> None:
    """Wait until so many missions were acknowledged, however fast the machine is, and then for a random moment."""
    deadline = time.monotonic() + ENDING_SECONDS_MAX
    while sum(len(caller.acknowledged) for caller in callers) < missions:
        assert time.monotonic() < deadline, "the gateway takes no missions"
        time.sleep(0.005)
    time.sleep(randbelow(100) / 1000)


def ended(client: Client, mission_id: str) -> Any:
    """Return a mission once it has ended."""
    deadline = time.monotonic() + ENDING_SECONDS_MAX
    while (view := client.get(mission_id)).ended_at is None:
        assert time.monotonic() < deadline, f"mission {mission_id} does not end"
        time.sleep(0.05)
    return view.document()


def open_service(made: NewHome, port: int) -> None:
    def change(config: dict[str, Any]) -> None:
        config["networks"]["allow"] = [f"127.0.0.1:{port}"]
        config["http"]["hosts"]["127.0.0.1"] = {"ports": [port], "methods": ["POST"]}

    change_policy_data(made, change)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_kill_after_kill_repeats_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """No finished effect is repeated, none is lost, what is in doubt is named, the chain verifies after every kill.

    Every mission that a caller was told of ends: well, with all its orders placed once; or Failed, and then a step of
    it is in doubt, or waits for one that is, and each order is placed once or not at all.
    """
    made = new_home(tmp_path)
    acknowledged: set[str] = set()
    with counting() as (port, orders):
        open_service(made, port)
        document = form(port)
        for kill in range(KILLS):
            program = Program.start(made)
            assert program.facts["interrupted"] == []
            callers = [Submitting(program, f"k{kill}c{n}", document) for n in range(SUBMITTERS)]
            for caller in callers:
                caller.start()
            let_work(callers, missions=randbelow(10))
            if kill == 0:  # once while an order is on its way; the others whenever it is
                with orders.one_unanswered():
                    program.kill()
            else:
                program.kill()
            for caller in callers:
                caller.join()
                acknowledged |= caller.acknowledged
            verified(made)
        program = Program.start(made)
        with calling(program.address, made) as client:
            views = {mission_id: ended(client, mission_id) for mission_id in acknowledged}
            assert program.terminate() == 0
    verified(made)
    events = events_of(made)
    laws_hold(events, killed=True)
    assert acknowledged <= {event.target for event in events if event.event_type == "mission.admitted"}
    assert len(acknowledged) > KILLS
    check_orders(orders, events)
    check_missions(views, events)


def placed_in(event: Any) -> set[str]:
    """Return the keys of the orders that an event says were placed."""
    if event.event_type not in {"effect.performed", "effect.replayed", "mission.effects_kept"}:
        return set()
    told = event.details.get("effects", [event.details])
    return {each["key"] for each in told if each["op"] == "http.request" and "code" not in each}


def doubted_in(event: Any) -> set[str]:
    """Return the keys of the effects that an event says are in doubt."""
    if event.event_type not in {"effect.failed", "mission.effects_kept"}:
        return set()
    told = event.details.get("effects", [event.details])
    return {each["key"] for each in told if each.get("code") == "effect.in_doubt"}


def check_orders(orders: Counter[str], events: list[Any]) -> None:
    """Assert that no order was placed twice, and that the log knows of each: as placed, or as in doubt."""
    placed = set().union(*map(placed_in, events))
    doubted = set().union(*map(doubted_in, events))
    assert max(orders.values()) == 1, "an order was placed twice"
    assert placed <= set(orders), "an order that the log has as placed was not"
    assert set(orders) <= placed | doubted, "an order was placed, and the log does not say that it may have been"
    assert set(orders) & doubted, "no kill has hit an order: the test shows nothing"


def check_missions(views: dict[str, Any], events: list[Any]) -> None:
    """Assert that each mission ended as its orders did."""
    parents = {
        event.target: event.details["parent"]
        for event in events
        if event.event_type in {"mission.admitted", "mission.resumed"} and "parent" in event.details
    }
    placed: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        mission_id = event.target.partition("/")[0]
        placed[parents.get(mission_id, mission_id)] |= placed_in(event)
    for mission_id, view in views.items():
        codes = {each["error"]["code"] for each in view["result"]["step_results"].values() if "error" in each}
        if view["result"]["overall_status"] == "Success":
            assert len(placed[mission_id]) == ORDERS, view
        else:
            assert codes & DOUBTED, view
            assert codes <= {*DOUBTED, "step.dependency_failed"}, view
    endings = Counter(view["result"]["overall_status"] for view in views.values())
    assert endings["Success"] > KILLS / 2, endings
