"""A quality score without references: translate back, and compare with what was translated from.

chrF (Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation", WMT) by sacrebleu with its defaults:
character n-grams up to 6, no word n-grams, beta 2, case kept, white space left out. It runs from 0 to 100. The way back
errs too, so it compares texts and systems among each other; it is no grade of the translation alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

from sacrebleu.metrics.chrf import CHRF

from unteach.makers.contract import Source, Translated, Translator
from unteach.progress import Progress
from unteach.records import Record


class RoundTrip(Record):
    """chrF of ``back`` against the source, or why there is none.

    A text back that the checks refused is scored all the same, as leaving the worst out would raise every mean;
    ``problem`` then says why it was refused.
    """

    score: float | None
    back: str | None = None
    problem: str | None = None


@cache
def _metric() -> CHRF:
    return CHRF(char_order=6, word_order=0, beta=2)


def chrf(found: str, wanted: str) -> float:
    """Sentence chrF of one text against another, 0 to 100."""
    return float(_metric().sentence_score(found, [wanted]).score)


def round_trip(
    sources: Sequence[Source],
    translated: Sequence[Translated],
    target: str,
    back: Translator,
    progress: Progress | None = None,
) -> list[RoundTrip]:
    """A score for every source: its translation into ``target``, put back into the source's language by ``back``.

    Raises:
        UserError: as the translator; languages are checked before any text is translated.
    """
    by_language: dict[str, list[int]] = defaultdict(list)
    for index, (source, translation) in enumerate(zip(sources, translated, strict=True)):
        if translation.text is not None:
            by_language[source.language].append(index)
    for language in by_language:
        back.check([target], language)
    scores = [RoundTrip(score=None, problem=f"there is no translation: {each.problem}") for each in translated]
    for language, indices in by_language.items():
        texts = [Source(text=translated[i].text or "", language=target, id=sources[i].id) for i in indices]
        for index, returned in zip(indices, back(texts, language, progress), strict=True):
            scores[index] = _score(sources[index].text, returned)
    return scores


def _score(wanted: str, returned: Translated) -> RoundTrip:
    text = returned.text if returned.text is not None else returned.refused
    if text is None:
        return RoundTrip(score=None, problem=f"it could not be translated back: {returned.problem}")
    problem = None if returned.problem is None else f"refused on the way back: {returned.problem}"
    return RoundTrip(score=round(chrf(text, wanted), 4), back=text, problem=problem)
