"""A law of the YAML writer: what it writes is read back as the same value."""

from hypothesis import given
from hypothesis import strategies as st

from engine.mission import MissionLimits
from engine.yaml_text import read_yaml
from engine.yaml_writer import write_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "no",
        "Yes",
        "~",
        "null",
        "0o17",
        "0x1F",
        "010",
        "1e3",
        ".inf",
        "-.5",
        "12:30",
        "2024-01-01",
        "=",
        "<<",
        "---",
        "? a",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_reading_what_was_written_is_the_identity(value: dict[str, object]) -> None:
    """Also of the types: 1 and 1.0 and "1" stay what they are, in keys and in values."""
    read = read_yaml(write_yaml(value).decode(), MissionLimits())  # type: ignore[arg-type]
    assert repr(read) == repr(value)
