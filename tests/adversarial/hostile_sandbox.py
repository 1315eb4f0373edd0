"""The sandbox's worker and jail, taken over."""

from gateway.sandbox import jail as real_jail
from gateway.sandbox import worker as real_worker
from tests.adversarial.hostile_calls import overtaken

worker = overtaken(real_worker.serve)
jail = overtaken(real_jail.serve)
