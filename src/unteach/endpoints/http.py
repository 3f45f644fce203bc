"""What HTTP services have in common: which failures pass, how long to wait, and what must not stand in an address."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import urlsplit

from unteach.endpoints.contract import Again, Refused
from unteach.errors import UserError

_PASSING = (408, 409, 425, 429)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, section 10.2.3: seconds or a date); ``None`` if it does not."""
    if milliseconds := headers.get("retry-after-ms"):
        try:
            return max(0.0, float(milliseconds) / 1000)
        except ValueError:
            pass
    told = headers.get("retry-after", "").strip()
    if not told:
        return None
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def explain_status(status: int, told: str, wait: float | None, title: str, variable: str | None) -> NoReturn:
    """An HTTP failure as what it means for the work.

    Raises:
        Again: 408, 409, 425, 429, 5xx (but 501, which is for ever).
        UserError: 401, 402, 403, 404, 405, 410: no other prompt would fare better.
        Refused: any other: this prompt is not answered.
    """
    if status in _PASSING or (status >= 500 and status != 501):
        raise Again(f"the server answered {status}: {told}", wait=wait)
    if status in (401, 403):
        key = f"the key in {variable}" if variable else "a request without a key (key_variable names where one is)"
        raise UserError(f"{title}: {key} is not accepted ({status}: {told}).")
    if status == 402:
        raise UserError(f"{title}: the account has no credit ({told}).")
    if status in (404, 405, 410):
        raise UserError(f"{title}: there is no such model or address ({status}: {told}). Check model and base_url.")
    raise Refused(f"the server refused the prompt ({status}: {told})")


def bad_url(url: str) -> str | None:
    """Why an address cannot be used, or ``None``. One with a password would end up in keys, logs and reports.

    The reason never repeats any of the address: it may be a key that was put into the wrong line.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(not character.isprintable() or character.isspace() for character in url):
        return "not an http address, such as http://localhost:8000/v1"
    if parts.username is not None or parts.query or parts.fragment:
        return "keys do not belong in an address: put the key into the environment variable and leave it out here"
    return None
