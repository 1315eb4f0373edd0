"""Submits a mission and waits for its result: MISSIONGATE_SERVER and MISSIONGATE_TOKEN say where and as whom.

MISSIONGATE_TOKEN=$(cat ~/.local/share/missiongate/keys/admin.token) python examples/client/blocking.py
"""

import os
import sys

from engine.builder import MissionBuilder
from gateway.client import CallError, Client, DeniedCallError, InvalidCallError, Server


def report() -> MissionBuilder:
    """Return a mission of three steps; a mistake in it is an error here, with the line of this file."""
    mission = MissionBuilder("quarterly report", labels={"team": "finance"})
    quarter = mission.variable("quarter", "Q3")
    total = mission.step("total", "transform", {"input": [1250, 830, 400], "operations": [{"op": "sum"}]})
    text = f"Revenue {quarter}: {total.output} cents\n"
    written = mission.step("write", "create_file", {"path": f"out/{quarter}.txt", "content": text})
    mission.step("read", "read_file", {"path": f"out/{quarter}.txt"}, after=[written])
    return mission


def main() -> int:
    """Print what became of the mission."""
    server = Server.of(os.environ.get("MISSIONGATE_SERVER", "127.0.0.1:7443"))
    with Client(server) as client:
        try:
            plan = client.plan(report())
            print(f"levels: {[list(level) for level in plan.levels]}")
            # The id is this program's: started again after a crash, it asks for the same mission, and gets it once.
            submission = client.submit(report(), request_id="quarterly-report-Q3")
            result = client.having(deadline_seconds=60).wait(submission.mission_id)
        except InvalidCallError as error:
            for violation in error.violations:
                print(f"{violation.field}: {violation.message}", file=sys.stderr)
            return 2
        except DeniedCallError as error:
            print(f"policy says no: {', '.join(reason.code for reason in error.reasons)}", file=sys.stderr)
            return 3
        except CallError as error:  # nobody answers, or not in time: as often as is worth it was tried already
            print(f"{error.code}: {error}", file=sys.stderr)
            return 4
    print(f"{result.overall_status}: {result.steps_completed} steps")
    print(f"total: {result.step_results['total'].output}")
    return 0 if result.succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
