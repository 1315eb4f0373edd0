"""`retention.log_days`: for how long the files of the audit log stay where the gateway writes them."""

from typing import Final

from engine.values import JsonObject
from gateway.policy_data.fields import read_figure, read_object

DAYS_MAX: Final = 36_500
_FIELDS: Final = ("mission_days", "log_days")


def log_days(data: JsonObject) -> int | None:
    """Return the days after whose end a closed segment of the log leaves the gateway; None: none ever does.

    Raises:
        PolicyInvalidError: `policy.data_invalid`, it is no whole number of days, or stands beside an unknown field.
    """
    retention = read_object("retention", data.get("retention", {}), _FIELDS)
    return read_figure("retention.log_days", retention["log_days"], DAYS_MAX, 1) if "log_days" in retention else None
