from pathlib import Path

import pytest

from gateway.policy.bundle import Bundle

POLICIES = Path(__file__).parents[4] / "policies"


@pytest.fixture(scope="session")
def bundled() -> Bundle:
    return Bundle.load(POLICIES)
