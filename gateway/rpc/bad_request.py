"""What is wrong with a request itself, as the refusal that its client sees."""

from engine.errors import Violation
from gateway.errors import SanitizationError


def bad_request(code: str, field: str, message: str) -> SanitizationError:
    """Return the refusal of one field; `field` is empty where the request as a whole is to blame."""
    return SanitizationError([Violation(code=code, message=message, field=field)])


def out_of_range(field: str, message: str) -> SanitizationError:
    """Return the refusal of a value that is too long, too large or too small."""
    return bad_request("request.out_of_range", field, message)
