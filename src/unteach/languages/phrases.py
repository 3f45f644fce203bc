"""The few words that unteach itself says to a model, by language. There is no fallback to English.

All are machine-written and none has been reviewed by a native speaker; ``ORIGIN`` says so wherever they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from unteach.errors import UserError

ORIGIN = "machine-written, not reviewed by a native speaker"


@dataclass(frozen=True)
class Labels:
    """What stands before a question and before its answer in the plain base-model format."""

    question: str
    answer: str


_LABELS = {
    "en": Labels("Question:", "Answer:"),
    "de": Labels("Frage:", "Antwort:"),
    "fr": Labels("Question :", "Réponse :"),
    "zh": Labels("问题：", "回答："),
    "ru": Labels("Вопрос:", "Ответ:"),
    "jv": Labels("Pitakon:", "Wangsulan:"),
    "ur": Labels("سوال:", "جواب:"),
    "ha": Labels("Tambaya:", "Amsa:"),
    "hy": Labels("Հարց՝", "Պատասխան՝"),
    "es": Labels("Pregunta:", "Respuesta:"),
    "bn": Labels("প্রশ্ন:", "উত্তর:"),
    "hi": Labels("प्रश्न:", "उत्तर:"),
    "th": Labels("คำถาม:", "คำตอบ:"),
    "ms": Labels("Soalan:", "Jawapan:"),
    "vi": Labels("Câu hỏi:", "Trả lời:"),
    "nl": Labels("Vraag:", "Antwoord:"),
    "zh-Hant": Labels("問題：", "回答："),
    "uk": Labels("Питання:", "Відповідь:"),
    "so": Labels("Su'aal:", "Jawaab:"),
    "el": Labels("Ερώτηση:", "Απάντηση:"),
    "pt": Labels("Pergunta:", "Resposta:"),
    "ja": Labels("質問：", "回答："),
    "it": Labels("Domanda:", "Risposta:"),
    "sv": Labels("Fråga:", "Svar:"),
    "ar": Labels("سؤال:", "جواب:"),
    "pl": Labels("Pytanie:", "Odpowiedź:"),
}


def has_labels(code: str) -> bool:
    """Whether questions can be put in this language."""
    return code in _LABELS


def labels(code: str) -> Labels:
    """The question and answer labels of a language.

    Raises:
        UserError: the language has none; English is never used in its place.
    """
    if code not in _LABELS:
        raise UserError(
            f"language {code!r} has no question and answer labels, so it cannot be asked in. "
            f"Languages with labels: {', '.join(_LABELS)}."
        )
    return _LABELS[code]
