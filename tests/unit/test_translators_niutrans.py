"""The NiuTrans translator against a local server that speaks the documented form."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import niutrans_server as form
import pytest
from niutrans_server import NiuTransServer, serving

from unteach.endpoints.service import BudgetReached, Unfinished
from unteach.errors import UserError
from unteach.languages.table import LANGUAGES
from unteach.makers.contract import TRANSLATORS, Source, Translator

KEY = "k3y-not-to-be-seen"
FRENCH = {
    "The blue ferry sails to the island every morning.": "Le ferry bleu part pour l'île chaque matin.",
    "The market closes at five in the afternoon.": "Le marché ferme à cinq heures de l'après-midi.",
    "A baker found an old coin & gave it away.": "Un boulanger a trouvé une vieille pièce et l'a donnée.",
}
FERRY, MARKET, COIN = (Source(text=text, language="en") for text in FRENCH)


def translate(source: str, target: str, text: str) -> str:
    assert (source, target) == ("en", "fr")
    for english, french in FRENCH.items():
        text = text.replace(english, french)
    return text


@pytest.fixture
def server(monkeypatch, tmp_path: Path) -> Iterator[NiuTransServer]:
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    monkeypatch.setenv("NIUTRANS_API_KEY", KEY)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(NiuTransServer(translate, KEY)) as running:
        yield running


@pytest.fixture
def niutrans(server) -> Callable[..., Translator]:
    """``niutrans(setting=..., service={...})``"""

    def translator(service: dict | None = None, **settings: object) -> Translator:
        asked = {"base_url": server.url, "first_wait_s": 0.01, "attempts": 3, "timeout_s": 5, **(service or {})}
        return TRANSLATORS.parse({"name": "niutrans", "service": asked, **settings})

    return translator


def test_the_documented_form_is_sent_and_read(server, niutrans) -> None:
    found = niutrans()([FERRY, MARKET, COIN], "fr")
    assert [each.text for each in found] == list(FRENCH.values())
    assert [each.found_language for each in found] == ["fr"] * 3
    sent = {"from": "en", "to": "fr", "apikey": KEY}
    assert sorted(server.forms, key=str) == sorted(({**sent, "src_text": text} for text in FRENCH), key=str)
    assert all(kind.startswith("application/x-www-form-urlencoded") for kind in server.types)


def test_what_is_kept_is_not_asked_again_and_has_no_key(server, niutrans, tmp_path, capfd, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    translator = niutrans()
    first = translator([FERRY, MARKET], "fr")
    asked = len(server.forms)
    assert translator([FERRY, MARKET], "fr") == first and len(server.forms) == asked == 2
    server.script = [form.NO_LANGUAGE | {"error_msg": f"no such language for {KEY}"}]
    with pytest.raises(UserError, match=r"does not translate en into fr \(13007: no such language for \[key\]\)"):
        translator([COIN], "fr")
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"ferry bleu" in kept and KEY.encode() not in kept
    told = capfd.readouterr()
    assert KEY not in told.out + told.err + caplog.text + str(translator.identity()) + translator.title


def test_a_long_text_is_sent_in_parts_and_keeps_its_paragraphs(server, niutrans) -> None:
    text = f"{FERRY.text} {MARKET.text}\n\n{COIN.text} {FERRY.text}"
    (found,) = niutrans(longest=110)([Source(text=text, language="en")], "fr")
    assert found.text == translate("en", "fr", text)
    assert [len(asked["src_text"]) <= 110 for asked in server.forms] == [True] * len(server.forms)
    assert len(server.forms) == 2


@pytest.mark.parametrize(
    "passing", [form.TOO_MANY, 503, 429, b"<html>", b"[]", b'{"from": "en"}', {"tgt_text": 5, "error_code": 10001}]
)
def test_a_failure_that_passes_is_tried_again(server, niutrans, passing) -> None:
    server.script = [passing, passing]
    assert niutrans()([FERRY], "fr")[0].text == FRENCH[FERRY.text]
    assert len(server.forms) == 3


def test_after_all_attempts_the_rest_is_done_and_a_second_call_goes_on(server, niutrans) -> None:
    server.script = [form.TOO_MANY] * 3
    translator = niutrans({"concurrency": 1})
    with pytest.raises(Unfinished, match="10001"):
        translator([FERRY, MARKET], "fr")
    assert [each.text for each in translator([FERRY, MARKET], "fr")] == list(FRENCH.values())[:2]
    assert len(server.forms) == 5  # three that failed, and each text once


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (form.NO_KEY, "key is missing or wrong"),
        (form.NO_FLOW, "no characters left"),
        (401, "not accepted"),
        (404, "no such model or address"),
    ],
)
def test_a_failure_that_stays_ends_the_work_and_says_why(server, niutrans, failure, told) -> None:
    server.script = [failure] * 9
    with pytest.raises(UserError, match=told):
        niutrans()([FERRY, MARKET], "fr")


def test_a_wrong_key_is_not_repeated(server, niutrans, monkeypatch) -> None:
    monkeypatch.setenv("NIUTRANS_API_KEY", "another-key")
    with pytest.raises(UserError) as error:
        niutrans()([FERRY], "fr")
    assert "another-key" not in str(error.value) and "NIUTRANS_API_KEY" in str(error.value)


def test_a_missing_key_is_told_before_anything_is_sent(server, niutrans, monkeypatch) -> None:
    monkeypatch.delenv("NIUTRANS_API_KEY")
    with pytest.raises(UserError, match="NIUTRANS_API_KEY"):
        niutrans()([FERRY], "fr")
    with pytest.raises(UserError, match="NIUTRANS_API_KEY"):
        niutrans().check(["en"], "fr")
    assert not server.forms


@pytest.mark.parametrize("failure", [form.FILTERED, form.TOO_LONG, form.OLD, {"error_code": "14001"}, 302, 400])
def test_a_text_that_is_refused_leaves_the_others_translated(server, niutrans, failure) -> None:
    server.script = [failure]
    found = niutrans({"concurrency": 1})([FERRY, MARKET], "fr")
    assert [each.text for each in found] == [None, FRENCH[MARKET.text]]
    assert found[0].problem and "refused" in found[0].problem


def test_a_reply_that_is_no_translation_is_refused(server, niutrans) -> None:
    server.script = [{"tgt_text": FERRY.text}, {"tgt_text": " \n"}]
    found = niutrans({"concurrency": 1})([FERRY, MARKET], "fr")
    assert [each.text for each in found] == [None, None]
    assert found[0].refused == FERRY.text and "copy" in (found[0].problem or "")
    assert "nothing came back" in (found[1].problem or "")


def test_the_budget_is_of_characters(server, niutrans) -> None:
    translator = niutrans({"concurrency": 1, "budget": {"tokens": len(FERRY.text) + 10}})
    with pytest.raises(BudgetReached, match="tokens"):
        translator([FERRY, MARKET], "fr")
    assert [asked["src_text"] for asked in server.forms] == [FERRY.text]


def test_a_language_without_a_known_code_is_told_before_anything_is_sent(server, niutrans) -> None:
    # their "ti" is Tibetan: Tigrinya must not be sent under it
    for code in ("ti", "luo", "awa", "bho", "fur"):
        with pytest.raises(UserError, match=LANGUAGES[code].name):
            niutrans()([FERRY], code)
    assert not server.forms
    server.script = [{"tgt_text": "Meli ya rangi ya buluu edhi e chula okinyi ka okinyi."}]
    translator = niutrans(codes={"luo": "luo"}, checks={"language": False})
    assert translator([FERRY], "luo")[0].text and server.forms[0]["to"] == "luo"


def test_chinese_is_told_apart_by_its_own_codes(server, niutrans) -> None:
    server.script = [{"tgt_text": "藍色的渡輪每天早上開往島上。"}]
    assert niutrans()([FERRY], "zh-Hant")[0].text and server.forms[0]["to"] == "cht"


def test_an_address_with_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="keys do not belong"):
        TRANSLATORS.parse({"name": "niutrans", "service": {"base_url": "https://api.niutrans.com/x?apikey=abc"}})
