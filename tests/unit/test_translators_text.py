"""Texts cut into sentences and put together, checks of translations, ready translations, scores by way of back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unteach.corpora.load import load_corpus
from unteach.errors import UserError, UserErrors
from unteach.languages.sentences import packed, pieces, put_together, sentences
from unteach.languages.table import LANGUAGES
from unteach.makers.contract import TRANSLATORS, Source, Translated, Translator
from unteach.makers.round_trip import chrf, round_trip
from unteach.makers.translation_checks import Checks, checked

CUT = [
    ("en", "The ferry is blue. It sails at 9.30 a.m. from the pier. Fine!", 3),
    ("en", "Dr. Marlow met J. K. Brandt in St. Ives. They spoke.", 2),
    ("en", 'She asked: "When does it open?" and left. "At five." Good.', 3),
    ("en", "It cost 3.5 million, see No. 7 and fig. 2. He said no. Then he left.", 3),
    ("en", "1. Boil the water. 2. Wait", 2),
    ("de", "Am 3. Mai kam Dr. Falk an. Es war z. B. kalt.", 2),
    ("es", "¿Quién llegó? ¡Nadie! El barco azul… se fue.", 3),
    ("ru", "Это г. Тверь. Там живёт А. С. Орлов. Хорошо?", 3),
    ("zh", "渡轮是蓝色的。它九点出发！“真的吗？”他问……然后走了。", 4),
    ("ja", "船は青い。「本当ですか。」彼は去った。", 3),
    ("hi", "नौका नीली है। वह नौ बजे चलती है।क्या सच में?", 3),
    ("ar", "العبارة زرقاء. هل هي جديدة؟ نعم.", 3),
    ("ur", "کشتی نیلی ہے۔ کیا یہ نئی ہے؟ ہاں۔", 3),
    ("hy", "Նավը կապույտ է։ Այն նոր է: Լավ։", 3),
    ("el", "Το πλοίο είναι μπλε. Είναι νέο; Ναι.", 3),
    ("ti", "መርከብ ሰማያዊት እያ። ሓዳስ ድያ? እወ።", 3),
]


@pytest.mark.parametrize(("language", "text", "count"), CUT)
def test_sentences(language: str, text: str, count: int) -> None:
    found = sentences(text, language)
    assert len(found) == count, found
    assert put_together(found, pieces(text, language), language).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_embedded_articles_are_cut_about_where_their_writers_did(language: str) -> None:
    """Sentences of the embedded scenarios, joined and cut: nearly all come back, in every language that has some."""
    articles = [s.texts[language].article for s in load_corpus() if language in s.texts and s.texts[language].article]
    if language == "th" or not articles:
        return  # Thai has no marks to cut at
    space = "" if LANGUAGES[language].script in ("Hans", "Hant", "Jpan") else " "
    wanted = {(index, text) for index, article in enumerate(articles) for text in article}
    found = {
        (index, text) for index, article in enumerate(articles) for text in sentences(space.join(article), language)
    }
    assert len(wanted & found) >= 0.95 * len(wanted)


def test_thai_is_cut_at_spaces_and_an_unbroken_text_anywhere() -> None:
    text = " ".join(["เรือเฟอร์รี่สีฟ้าออกทุกเช้า"] * 20)
    found = pieces(text, "th")
    assert len(found) > 1 and all(len(piece.text) <= 160 for piece in found)
    assert all(piece.gap == " " for piece in found[:-1])
    assert [len(piece.text) <= 50 for piece in pieces("ก" * 120, "th", lambda part: len(part) <= 50)] == [True] * 4


def test_a_long_sentence_is_cut_at_the_best_mark_near_its_middle() -> None:
    text = "The old ferry, painted blue by the baker; the new one, which the harbour master calls red, stays here."
    found = [piece.text for piece in pieces(text, "en", lambda part: len(part) <= 70)]
    assert found == [
        "The old ferry, painted blue by the baker;",
        "the new one, which the harbour master calls red, stays here.",
    ]
    assert "1,500" in "|".join(p.text for p in pieces("It cost 1,500 crowns " * 9, "en", lambda part: len(part) < 30))


def test_packed_pieces_are_as_long_as_fits_and_keep_line_breaks() -> None:
    text = "One is here. Two is here.\n\nThree is here. Four is here."
    found = packed(text, "en", lambda part: len(part) <= 41)
    assert [piece.text for piece in found] == ["One is here. Two is here.\n\nThree is here.", "Four is here."]
    assert packed(text, "en", lambda part: len(part) <= 1000)[0].text == text


def test_put_together_has_the_line_breaks_of_the_source_and_the_spacing_of_the_target() -> None:
    like = pieces("One. Two.\n\nThree.", "en")
    assert put_together(["一。", "二。", "三。"], like, "zh") == "一。二。\n\n三。"
    assert put_together(["Un.", "Deux.", "Trois."], pieces("一。二。\n三。", "zh"), "fr") == "Un. Deux.\nTrois."


TEXTS = st.text(st.sampled_from("aB1 .!?。！ \n\t।؟'\"“)…;,-é\u0301ก中\u2028\x1c") | st.characters(codec="utf-8"))


@given(TEXTS, st.sampled_from(list(LANGUAGES)), st.integers(1, 12))
@example("a.\u2028\x1cB", "en", 3)
def test_nothing_is_lost(text: str, language: str, longest: int) -> None:
    for cut in (
        pieces(text, language),
        pieces(text, language, lambda part: len(part) <= longest),
        packed(text, language, lambda part: len(part) <= longest),
    ):
        assert "".join(piece.text + piece.gap for piece in cut) == text.strip()
        assert all(piece.text == piece.text.strip() != "" and not piece.gap.strip() for piece in cut)
    assert all(len(piece.text) <= longest for piece in pieces(text, language, lambda part: len(part) <= longest))


FERRY = Source(text="The blue ferry sails to the island every morning at nine o'clock.", language="en", id="ferry")
BLEU = "Le ferry bleu part pour l'île chaque matin à neuf heures."


def test_a_good_translation_passes_with_what_was_found() -> None:
    found = checked(FERRY, "fr", f"  {BLEU}\n", Checks())
    assert found == Translated(text=BLEU, length_ratio=round(len(BLEU) / len(FERRY.text), 4), found_language="fr")
    # a Chinese character counts two
    assert checked(FERRY, "zh", "蓝色的渡轮每天早上九点开往岛上，天天如此。", Checks()).length_ratio == round(
        42 / 65, 4
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing came back"),
        (FERRY.text.upper(), "a copy of the source"),
        ("Le ferry bleu part.", "0.29 times"),
        (BLEU + " " + BLEU.replace("bleu", "rouge") + " " + BLEU.replace("neuf", "dix"), "2.6"),
        ("Die blaue Fähre fährt jeden Morgen um neun Uhr zur Insel.", "it is in 'de' (German), not in 'fr'"),
        ("蓝色的渡轮每天早上九点开往岛上，天天如此。", "it is in 'zh'"),
        ("Le ferry bleu et le ferry et le ferry et le ferry et le ferry et le ferry et le ferry.", "repeats"),
        (f"{BLEU} The ferry is blue and it sails to the island.", "is left in 'en'"),
    ],
)
def test_what_is_no_translation_is_refused_and_kept_for_people(text: str, why: str) -> None:
    found = checked(FERRY, "fr", text, Checks())
    assert found.text is None and found.refused == text and why in (found.problem or "")


def test_every_check_can_be_loosened() -> None:
    lenient = Checks(shortest=0, longest=10, language=False, copies=False, repeats=50)
    for text in (FERRY.text, "Le ferry.", "non " * 20):
        found = checked(FERRY, "fr", text, lenient)
        assert found.text == text.strip() and found.unchecked is not None and "not to be checked" in found.unchecked


def test_what_cannot_be_told_is_accepted_and_reported() -> None:
    name = checked(Source(text="Tindrel", language="en"), "fr", "Tindrel", Checks())
    assert name.text == "Tindrel" and name.unchecked
    # Kamba is a language that the identifier does not know: neither right nor wrong, unless it is plain English
    kamba = checked(FERRY, "kam", "Meli ya langi wa matu nithi kisiwani kila kwakya saa tatu.", Checks())
    assert kamba.text is not None and kamba.found_language is None and kamba.unchecked
    left = checked(FERRY, "kam", "The blue ferry, it sails to the island in the morning.", Checks())
    assert left.text is None and "'en'" in (left.problem or "")


@pytest.fixture
def ready(tmp_path: Path) -> Callable[..., Translator]:
    """``ready(*entries)``: a translator of these entries."""

    def translator(*entries: dict[str, str]) -> Translator:
        path = tmp_path / "ready.jsonl"
        path.write_text("\n".join(json.dumps(entry) for entry in entries), encoding="utf-8")
        return TRANSLATORS.parse({"name": "files", "paths": [str(path)], "by": "Maud"})

    return translator


def test_ready_translations_are_found_by_id_and_by_source(ready) -> None:
    market = Source(text="The market closes at five in the afternoon.", language="en")
    translator = ready(
        {"id": "ferry", "language": "French", "text": BLEU},
        {"source": market.text, "language": "fr", "text": "Le marché ferme à cinq heures de l'après-midi."},
    )
    number = Source(text="12:30", language="en")
    same = Source(text=BLEU, language="fr")
    other = Source(text="The baker found an old coin.", language="en", id="coin")
    found = translator([market, FERRY, number, same, other], "fra_Latn")
    assert [each.text for each in found] == [
        "Le marché ferme à cinq heures de l'après-midi.",
        BLEU,
        "12:30",
        BLEU,
        None,
    ]
    assert found[-1].problem == "no ready translation into 'fr'" and translator.title == "Maud"
    assert translator([FERRY], "de")[0].text is None


def test_a_ready_translation_of_what_the_text_was_before_is_not_used(ready) -> None:
    translator = ready({"id": "ferry", "source": "The red ferry sails.", "language": "fr", "text": BLEU})
    (found,) = translator([FERRY], "fr")
    assert found.text is None and found.refused == BLEU and "of another text" in (found.problem or "")


def test_what_is_wrong_with_ready_translations_is_told_at_once(ready, tmp_path) -> None:
    translator = ready(
        {"language": "fr", "text": BLEU},
        {"id": "a", "language": "frr", "text": BLEU},
        {"id": "b", "language": "fr", "text": BLEU},
        {"id": "b", "language": "fr", "text": "Autre."},
    )
    with pytest.raises(UserErrors) as error:
        translator.check(["en"], "fr")
    told = str(error.value)
    assert "line 1" in told and "give the id" in told and "line 2" in told and "line 4" in told and "line 3" not in told
    with pytest.raises(UserError, match="nothing at"):
        TRANSLATORS.parse({"name": "files", "paths": [str(tmp_path / "none.jsonl")]})([FERRY], "fr")


def test_the_key_of_ready_translations_is_their_content(ready, tmp_path) -> None:
    entry = {"id": "ferry", "language": "fr", "text": BLEU}
    first = ready(entry).identity()
    path = tmp_path / "moved.json"
    path.write_text(json.dumps([entry]), encoding="utf-8")
    moved = TRANSLATORS.parse({"name": "files", "paths": [str(path)], "by": "Maud"}).identity()
    assert first == moved and "ready.jsonl" not in str(first)
    assert ready({**entry, "text": "Autre."}).identity() != first


def naive_chrf(found: str, wanted: str) -> float:
    """chrF2 with n-grams up to 6, as Popović (2015) defines it: means of precision and recall over n-gram orders."""
    a, b = "".join(found.split()), "".join(wanted.split())
    precisions, recalls = [], []
    for n in range(1, 7):
        has = [a[i : i + n] for i in range(len(a) - n + 1)]
        should = [b[i : i + n] for i in range(len(b) - n + 1)]
        if has and should:
            match = sum(min(has.count(gram), should.count(gram)) for gram in set(has))
            precisions.append(match / len(has))
            recalls.append(match / len(should))
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 100 * 5 * precision * recall / (4 * precision + recall)


def test_chrf_is_popovics() -> None:
    wanted, found = "The blue ferry sails to the island.", "A blue boat sails to that island."
    assert chrf(found, wanted) == pytest.approx(naive_chrf(found, wanted), abs=1e-9)
    assert chrf(wanted, wanted) == pytest.approx(100) and chrf("xyz", "ABC") == 0


def test_round_trip_scores_what_came_back(ready) -> None:
    back = "The blue ferry leaves for the island each morning at nine."
    translator = ready({"source": BLEU, "language": "en", "text": back})
    german = Source(text="Die blaue Fähre fährt jeden Morgen um neun Uhr zur Insel.", language="de")
    given = [Translated(text=BLEU), Translated(text=None, problem="refused"), Translated(text=BLEU)]
    first, second, third = round_trip([FERRY, FERRY, german], given, "fr", translator)
    assert first.back == back and first.problem is None
    assert first.score == pytest.approx(naive_chrf(back, FERRY.text), abs=1e-4)
    assert second.score is None and second.problem == "there is no translation: refused"
    assert third.score is None and "could not be translated back" in (third.problem or "")


def test_a_text_back_that_is_refused_lowers_the_mean_all_the_same(ready) -> None:
    translator = ready({"source": BLEU, "language": "en", "text": "Ferry."})
    (found,) = round_trip([FERRY], [Translated(text=BLEU)], "fr", translator)
    assert found.back == "Ferry." and "refused on the way back" in (found.problem or "")
    assert found.score is not None and found.score < 20
