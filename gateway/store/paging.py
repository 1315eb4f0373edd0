"""Page tokens: opaque to clients, and useless for anything but the next page.

A token holds the id of the last mission that was shown (a keyset), not an offset: missions that are admitted
meanwhile neither repeat nor hide one. The admission number stays inside, because it counts other tenants' missions.
"""

import base64
import binascii
import re
from typing import Final

from engine.errors import Violation
from gateway.errors import SanitizationError

PAGE_SIZE_MAX: Final = 1_000
_VERSION: Final = "1."
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")


def token_after(mission_id: str) -> str:
    """Return the token of the page that follows `mission_id`."""
    return base64.urlsafe_b64encode(f"{_VERSION}{mission_id}".encode()).decode("ascii").rstrip("=")


def mission_before(token: str) -> str:
    """Return the mission id in a token that `token_after` made.

    Raises:
        SanitizationError: `page_token.invalid`.
    """
    if not _TOKEN.fullmatch(token):
        raise invalid_token()
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as err:
        raise invalid_token() from err
    mission_id = text.removeprefix(_VERSION)
    if token_after(mission_id) != token:
        raise invalid_token()
    return mission_id


def invalid_token() -> SanitizationError:
    """Return the refusal of a token that is not one of ours, or not for this list."""
    message = "this is not a page token of this list; start again without one"
    return SanitizationError([Violation(code="page_token.invalid", message=message, field="page_token")])
