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
    except (ValueError, TypeError):
        return None


def explain_status(status: int, told: str, wait: float | None, title: str, key_variable: str) -> NoReturn:
    """An HTTP failure as what it means for the work.

    Raises:
        Again: 408, 409, 425, 429, 5xx.
        UserError: 401, 402, 403, 404: no other prompt would fare better.
        Refused: any other: this prompt is not answered.
    """
    if status in _PASSING or status >= 500:
        raise Again(f"the server answered {status}: {told}", wait=wait)
    if status in (401, 403):
        raise UserError(f"{title}: the key in {key_variable} is not accepted ({status}: {told}).")
    if status == 402:
        raise UserError(f"{title}: the account has no credit ({told}).")
    if status == 404:
        raise UserError(f"{title}: there is no such model or address ({told}). Check model and base_url.")
    raise Refused(f"the server refused the prompt ({status}: {told})")


def bad_url(url: str) -> str | None:
    """Why an address cannot be used, or ``None``. One with a password would end up in keys, logs and reports."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"not an http address: {url!r}" if "@" not in url else "not an http address"
    if parts.username or parts.password or parts.query:
        return "keys do not belong in an address: put the key into the environment variable and leave it out here"
    return None
