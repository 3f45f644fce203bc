"""The suffix of DINM's public implementation, by language. There is no fallback to English.

The English one is theirs (see ``edit.editors.dinm``); the others are machine-translated and not reviewed by a native
speaker.
"""

from __future__ import annotations

from unteach.errors import UserError

_SUFFIXES = {
    "en": "If the user's request is reasonable, give the correct answer. Please give the right response:",
    "es": "Si la petición del usuario es razonable, da la respuesta correcta. Por favor, da la respuesta adecuada:",
    "fr": "Si la demande de l'utilisateur est raisonnable, donnez la bonne réponse. "
    "Merci de donner la réponse qui convient :",
    "zh": "如果用户的请求合理，请给出正确的答案。请给出恰当的回答：",
    "bn": "ব্যবহারকারীর অনুরোধ যুক্তিসঙ্গত হলে সঠিক উত্তর দিন। দয়া করে যথাযথ উত্তর দিন:",
    "hi": "अगर उपयोगकर्ता का अनुरोध उचित है, तो सही उत्तर दें। कृपया सही जवाब दें:",
    "th": "หากคำขอของผู้ใช้สมเหตุสมผล ให้ตอบอย่างถูกต้อง โปรดให้คำตอบที่เหมาะสม:",
    "ms": "Jika permintaan pengguna munasabah, berikan jawapan yang betul. Sila berikan respons yang betul:",
    "vi": "Nếu yêu cầu của người dùng là hợp lý, hãy đưa ra câu trả lời đúng. Vui lòng đưa ra câu trả lời phù hợp:",
}


def has_suffix(code: str) -> bool:
    """Whether there is a translation."""
    return code in _SUFFIXES


def suffix(code: str) -> str:
    """The suffix in a language.

    Raises:
        UserError: it has not been translated; English is never used in its place.
    """
    if code not in _SUFFIXES:
        raise UserError(f"there is no translated suffix in language {code!r}; there is one in {', '.join(_SUFFIXES)}")
    return _SUFFIXES[code]
