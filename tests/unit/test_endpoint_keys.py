"""Keys: where they are found, and that no message ever holds one. What HTTP headers and addresses say."""

from __future__ import annotations

import email.utils
import sys
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unteach.endpoints.http import bad_url, retry_after
from unteach.endpoints.keys import find_key, needed_key, without_key
from unteach.errors import UserError


class KeyringError(Exception):
    pass


@pytest.fixture
def ring(monkeypatch) -> dict[tuple[str, str], str]:
    """A keyring of one's own; an entry that is an exception cannot be read."""
    entries: dict[tuple[str, str], str] = {}

    def get_password(service: str, user: str) -> str | None:
        if user == "locked":
            raise KeyringError("it is locked")
        return entries.get((service, user))

    module = SimpleNamespace(get_password=get_password, errors=SimpleNamespace(KeyringError=KeyringError))
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.delenv("MY_KEY", raising=False)
    return entries


def test_the_environment_comes_before_the_keyring(ring, monkeypatch) -> None:
    assert find_key("MY_KEY", None) is None
    assert find_key("MY_KEY", "service/user") is None
    ring["service", "user"] = " sk-ring\n"
    assert find_key("MY_KEY", "service/user") == "sk-ring"
    monkeypatch.setenv("MY_KEY", "  ")
    assert find_key("MY_KEY", "service/user") == "sk-ring"
    monkeypatch.setenv("MY_KEY", " sk-variable\n")
    assert find_key("MY_KEY", "service/user") == "sk-variable"


def test_a_missing_key_says_where_to_put_it(ring) -> None:
    with pytest.raises(UserError, match="environment variable MY_KEY or the keyring entry 'a/b'"):
        needed_key("MY_KEY", "a/b", "the service")


def test_a_keyring_that_cannot_be_read(ring, monkeypatch) -> None:
    with pytest.raises(UserError, match="'a/locked' cannot be read: it is locked"):
        find_key("MY_KEY", "a/locked")
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(UserError, match=r"unteach\[keyring\]"):
        find_key("MY_KEY", "a/b")


@pytest.mark.parametrize("entry", ["sk-secret", "sk-secret/", "/sk-secret"])
def test_a_key_instead_of_an_entry_is_not_repeated(ring, entry) -> None:
    with pytest.raises(UserError, match="SERVICE/USER") as caught:
        find_key("MY_KEY", entry)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-secret\nsk-second", "sk secret", "sk-secret\x00", "sk-secré", "“sk-secret”"])
def test_what_cannot_be_a_key_is_refused_and_not_repeated(ring, monkeypatch, key) -> None:
    ring["a", "b"] = key
    with pytest.raises(UserError, match="the key in the keyring holds") as caught:
        find_key("MY_KEY", "a/b")
    assert "secr" not in str(caught.value)
    if "\x00" not in key:
        monkeypatch.setenv("MY_KEY", key)
        with pytest.raises(UserError, match="the key in MY_KEY holds"):
            find_key("MY_KEY", None)


@given(st.text(), st.text(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8))
def test_no_message_holds_the_key(before, after, key) -> None:
    told = without_key(before + key + after, key)
    assert key not in told
    assert told.isprintable()
    assert len(told) < 350


@given(st.text(st.characters()))
def test_any_retry_after_is_read_or_ignored(value) -> None:
    for name in ("retry-after", "retry-after-ms"):
        found = retry_after({name: value})
        assert found is None or found >= 0


def test_retry_after_in_seconds_milliseconds_and_as_a_date() -> None:
    assert retry_after({}) is None
    assert retry_after({"retry-after": " 7 "}) == 7
    assert retry_after({"retry-after": "-7"}) == 0
    assert retry_after({"retry-after": "7", "retry-after-ms": "1500"}) == 1.5
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": email.utils.formatdate(time.time() + 100, usegmt=True)}) == pytest.approx(
        100, abs=2
    )
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


@given(st.text(st.characters(), max_size=40), st.sampled_from(["http://", "https://", "http://u:", "ftp://", ""]))
def test_no_reason_repeats_an_address(text, start) -> None:
    reason = bad_url(start + "hunter2" + text)
    assert reason is None or "hunter2" not in reason
