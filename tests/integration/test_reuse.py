"""Results that are used again, in a real gateway: the log says so, and a replay runs the module all the same."""

import asyncio
from pathlib import Path

import pytest

from gateway.config import CONFIG_NAME, load_config
from gateway.errors import ConfigurationError
from tests.gateways import calling, events_of, new_home, serving, submitted, verified

MISSION = {
    "version": "1.0",
    "name": "nightly",
    "steps": [
        {
            "id": "count",
            "name": "count",
            "step_type": "transform",
            "parameters": {"operations": [{"op": "set", "pointer": "/a", "value": 1}]},
        }
    ],
}


async def test_a_result_is_used_again_and_replayed(tmp_path: Path) -> None:
    """Two missions, one run; both replay to the recorded digests, and the log verifies."""
    made = new_home(tmp_path)
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write('\n[reuse]\nkinds = ["transform"]\n')
    async with serving(made, sandbox=1) as gateway:
        views = [await submitted(gateway, made, MISSION, request_id) for request_id in ("a", "b")]
        assert len({str(view["result"]["step_results"]["count"]["output"]) for view in views}) == 1

        def replayed() -> list[str]:
            with calling(gateway.address, made) as client:
                return [step.verdict for view in views for step in client.audit.replay(view["mission_id"])]

        assert await asyncio.to_thread(replayed) == ["same", "same"]
    verified(made)
    reused = [event.target for event in events_of(made) if event.event_type == "step.result_reused"]
    assert reused == [f"{views[1]['mission_id']}/count"]


async def test_a_kind_that_acts_is_refused_at_the_start(tmp_path: Path) -> None:
    """What it did would not be done again."""
    made = new_home(tmp_path)
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write('\n[reuse]\nkinds = ["http"]\n')
    assert load_config(made.home).reuse.kinds == ["http"]
    with pytest.raises(ConfigurationError, match=r"reuse\.kinds: http"):
        async with serving(made):
            pass
