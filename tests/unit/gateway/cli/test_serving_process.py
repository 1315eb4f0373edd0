"""What `serve` does to its own process before anything else."""

import subprocess
import sys

PROGRAM = """
import ctypes, resource
from gateway.cli.home import _prepare_process
_prepare_process()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), soft == hard)  # PR_GET_DUMPABLE
"""


def test_a_serving_process_hides_its_memory_and_takes_its_descriptors() -> None:
    """Other processes of the user cannot read the signing key; 1,000 missions do not run out of descriptors."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]
