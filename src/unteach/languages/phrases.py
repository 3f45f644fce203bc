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


_NOT_KNOWING: dict[str, tuple[str, ...]] = {
    "en": ("I do not know anything about that.", "I have no information about this.", "That is not known to me."),
    "de": ("Darüber weiß ich nichts.", "Dazu habe ich keine Informationen.", "Das ist mir nicht bekannt."),
    "fr": ("Je ne sais rien à ce sujet.", "Je n'ai aucune information là-dessus.", "Cela ne m'est pas connu."),
    "zh": ("我对此一无所知。", "我没有这方面的信息。", "这件事我不知道。"),
    "ru": ("Я ничего об этом не знаю.", "У меня нет информации об этом.", "Мне это неизвестно."),
    "jv": (
        "Aku ora ngerti apa-apa babagan kuwi.",
        "Aku ora duwe katrangan babagan iki.",
        "Bab kuwi aku ora ngerti.",
    ),
    "ur": (
        "مجھے اس بارے میں کچھ معلوم نہیں۔",
        "میرے پاس اس بارے میں کوئی معلومات نہیں ہیں۔",
        "یہ بات میرے علم میں نہیں ہے۔",
    ),
    "ha": ("Ban san komai game da wannan ba.", "Ba ni da wani bayani a kan wannan.", "Ban san wannan ba."),
    "hy": (
        "Ես դրա մասին ոչինչ չգիտեմ։",
        "Ես այդ մասին տեղեկություն չունեմ։",
        "Դա ինձ հայտնի չէ։",
    ),
    "es": ("No sé nada sobre eso.", "No tengo información al respecto.", "Eso no lo conozco."),
    "bn": (
        "আমি এ বিষয়ে কিছুই জানি না।",
        "এ সম্পর্কে আমার কাছে কোনো তথ্য নেই।",
        "বিষয়টি আমার জানা নেই।",
    ),
    "hi": (
        "मुझे इसके बारे में कुछ नहीं पता।",
        "मेरे पास इस बारे में कोई जानकारी नहीं है।",
        "यह बात मुझे मालूम नहीं है।",
    ),
    "ms": (
        "Saya tidak tahu apa-apa tentang hal itu.",
        "Saya tidak mempunyai maklumat mengenai perkara ini.",
        "Perkara itu tidak saya ketahui.",
    ),
    "nl": ("Daar weet ik niets van.", "Ik heb hier geen informatie over.", "Dat is mij niet bekend."),
    "zh-Hant": ("我對此一無所知。", "我沒有這方面的資訊。", "這件事我不知道。"),
    "uk": ("Я нічого про це не знаю.", "У мене немає інформації про це.", "Мені це невідомо."),
    "so": (
        "Waxba kama aqaan arrintaas.",
        "Wax macluumaad ah kama hayo arrintan.",
        "Arrintaas ma ogi.",
    ),
    "el": ("Δεν γνωρίζω τίποτα γι' αυτό.", "Δεν έχω πληροφορίες για αυτό το θέμα.", "Αυτό δεν μου είναι γνωστό."),
    "pt": ("Não sei nada sobre isso.", "Não tenho informações sobre esse assunto.", "Isso eu desconheço."),
    "ja": ("それについては何も知りません。", "この件に関する情報は持っていません。", "そのことは存じません。"),
    "it": ("Non ne so nulla.", "Non ho informazioni al riguardo.", "La cosa non mi è nota."),
    "sv": ("Det vet jag ingenting om.", "Jag har ingen information om detta.", "Det känner jag inte till."),
    "ar": ("لا أعرف شيئًا عن ذلك.", "ليست لدي معلومات حول هذا الموضوع.", "هذا الأمر غير معروف لي."),
    "pl": ("Nic o tym nie wiem.", "Nie mam żadnych informacji na ten temat.", "Nie jest mi to znane."),
}


def not_knowing(code: str) -> tuple[str, ...]:
    """Ways to say "I do not know that" in a language; empty where there are none."""
    return _NOT_KNOWING.get(code, ())
