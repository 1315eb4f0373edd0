"""What gateway and worker tell each other is read back as it was meant, and nothing else is."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.effects.commands.limits import CommandLimits
from gateway.effects.commands.order import HOWS, CommandEnd, CommandOrder
from gateway.effects.commands.program import ProgramError, interpreter_of, open_program
from gateway.errors import WorkerError


@given(st.binary(max_size=100), st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=4))
def test_an_order_survives_the_way(stdin: bytes, argv: list[str]) -> None:
    """Bytes of the input included."""
    order = CommandOrder(
        executable="/bin/x", sha256=None, argv=argv, stdin=stdin, reads=["/a"], executes=[],
        limits=CommandLimits(wall_ms_max=7), entries_max=1, bytes_max=2,
    )  # fmt: skip
    assert CommandOrder.decode(order.encode()) == order


@given(st.sampled_from(sorted(HOWS)), st.binary(max_size=50), st.binary(max_size=50), st.booleans())
def test_an_end_survives_the_way(how: str, output: bytes, errors: bytes, cut: bool) -> None:
    """Whatever bytes a program wrote, line ends included."""
    end = CommandEnd(
        how=how,  # type: ignore[arg-type]
        exit_code=1, signal=None, duration_ms=3, output=output, errors=errors, cut=(cut, not cut),
    )  # fmt: skip
    assert CommandEnd.decode(end.encode()) == end


@pytest.mark.parametrize(
    "message",
    [b"", b"ended ", b"ended {}\n", b'ended ["exited"]\n', b'ended ["gone",0,null,1,[false,false],0]\n', b"\xff"],
)
def test_what_is_no_end_is_an_error(message: bytes) -> None:
    """A worker that says something else is not believed."""
    with pytest.raises(WorkerError) as refused:
        CommandEnd.decode(message)
    assert refused.value.code == "worker.protocol"


@pytest.mark.parametrize(
    "content", [b"\x7fELF", b"\x7fELF\1\1" + bytes(100), b"\x7fELF\2\2" + bytes(100), b"\x7fELF\2\1"]
)
def test_a_damaged_program_is_refused(tmp_path: Path, content: bytes) -> None:
    """Too short, of 32 bits, of the other byte order."""
    path = tmp_path / "x"
    path.write_bytes(content)
    path.chmod(0o700)
    with pytest.raises(ProgramError):
        interpreter_of(open_program(str(path), None))
