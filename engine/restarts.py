"""Levels that begin anew: what runs in one is recalled, and once all of that has ended the level is opened again."""

from typing import Final

from engine.attempts import Attempts
from engine.fanning import FanOuts
from engine.ledger import Ledger
from engine.order import LevelOrder
from engine.outcome import Stop, too_many_restarts
from engine.result import StepFailure
from engine.settlement import Settlement
from engine.supervisor import Supervisor


class LevelRestarts:
    """Restarts of the level that is open, within the intensity that the mission allows (`one_for_all`)."""

    def __init__(
        self,
        levels: LevelOrder,
        supervisor: Supervisor,
        ledger: Ledger,
        settlement: Settlement,
        attempts: Attempts,
        fans: FanOuts,
    ) -> None:
        self.under_way = False  # what was recalled has not ended
        self._levels: Final = levels
        self._supervisor: Final = supervisor
        self._ledger: Final = ledger
        self._settlement: Final = settlement
        self._attempts: Final = attempts
        self._fans: Final = fans

    def restart(self, failure: StepFailure) -> Stop | None:
        """Begin the level anew because of a failure; return why the mission is over, if that was once too often."""
        if not self._supervisor.permits():
            return too_many_restarts(self._supervisor.supervision)
        self._ledger.level_restarting(self._levels.level, failure)
        if self._settlement.stop is not None:  # the observer's doing
            return None
        self.under_way = True
        self._levels.withhold()
        self._fans.stop()
        for key in self._attempts:
            if not self._attempts.recall(key):
                self._fans.left(key)
        self.go_on()
        return None

    def go_on(self) -> None:
        """Open the level again, if all that was recalled has ended."""
        if self._attempts:
            return
        self.under_way = False
        anew = self._levels.open_level()
        self._settlement.drop(anew)
        for index in anew:
            self._fans.forget(index)
