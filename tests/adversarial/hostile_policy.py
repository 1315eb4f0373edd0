"""A policy worker, taken over; a module of its own, since no sandbox worker may load a Rego engine."""

from gateway.policy import worker as real_worker
from tests.adversarial.hostile_calls import overtaken

worker = overtaken(real_worker.serve)
