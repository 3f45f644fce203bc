"""Which languages exist here: codes, names, script, direction, family, and the role each has in the two papers.

Sources: language lists and resource levels from paper A (sections 2.1, 3.2) and paper B (section 3); FLORES-200
codes as NLLB uses them. Languages that neither paper classes have no resource level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unteach.errors import UserError
from unteach.registry import nearest

Resource = Literal["high", "low"]


@dataclass(frozen=True)
class Language:
    """One language. ``code`` is BCP-47, ``flores`` the FLORES-200 code, ``resource`` the level the papers give it.

    ``relative`` is the code of the related language that paper A unlearns in (section 3.2), where it names one.
    """

    code: str
    flores: str
    name: str
    own_name: str
    script: str
    family: str
    resource: Resource | None = None
    relative: str | None = None

    @property
    def right_to_left(self) -> bool:
        """Whether text in this language runs from right to left."""
        return self.script in {"Arab", "Hebr"}


_TABLE = (
    Language("en", "eng_Latn", "English", "English", "Latn", "Germanic", "high"),
    Language("de", "deu_Latn", "German", "Deutsch", "Latn", "Germanic", "high", "nl"),
    Language("fr", "fra_Latn", "French", "français", "Latn", "Romance", "high", "es"),
    Language("zh", "zho_Hans", "Chinese (Simplified)", "简体中文", "Hans", "Sinitic", "high", "zh-Hant"),
    Language("ru", "rus_Cyrl", "Russian", "русский", "Cyrl", "Slavic", "high", "uk"),
    Language("jv", "jav_Latn", "Javanese", "Basa Jawa", "Latn", "Austronesian", "low", "ms"),
    Language("ur", "urd_Arab", "Urdu", "اردو", "Arab", "Indo-Aryan", "low", "hi"),
    Language("ha", "hau_Latn", "Hausa", "Hausa", "Latn", "Chadic", "low", "so"),
    Language("hy", "hye_Armn", "Armenian", "հայերեն", "Armn", "Armenian", "low", "el"),
    Language("es", "spa_Latn", "Spanish", "español", "Latn", "Romance", "high"),
    Language("bn", "ben_Beng", "Bengali", "বাংলা", "Beng", "Indo-Aryan", "low"),
    Language("hi", "hin_Deva", "Hindi", "हिन्दी", "Deva", "Indo-Aryan", "low"),
    Language("th", "tha_Thai", "Thai", "ไทย", "Thai", "Kra-Dai", "low"),
    Language("ms", "zsm_Latn", "Malay", "Bahasa Melayu", "Latn", "Austronesian", "low"),
    Language("vi", "vie_Latn", "Vietnamese", "Tiếng Việt", "Latn", "Austroasiatic", "low"),
    Language("nl", "nld_Latn", "Dutch", "Nederlands", "Latn", "Germanic"),
    Language("zh-Hant", "zho_Hant", "Chinese (Traditional)", "繁體中文", "Hant", "Sinitic"),
    Language("uk", "ukr_Cyrl", "Ukrainian", "українська", "Cyrl", "Slavic"),
    Language("so", "som_Latn", "Somali", "Soomaali", "Latn", "Cushitic"),
    Language("el", "ell_Grek", "Greek", "ελληνικά", "Grek", "Hellenic"),
    Language("pt", "por_Latn", "Portuguese", "português", "Latn", "Romance"),
    Language("ja", "jpn_Jpan", "Japanese", "日本語", "Jpan", "Japonic"),
    Language("it", "ita_Latn", "Italian", "italiano", "Latn", "Romance"),
    Language("sv", "swe_Latn", "Swedish", "svenska", "Latn", "Germanic"),
    Language("ar", "arb_Arab", "Arabic", "العربية", "Arab", "Semitic"),
    Language("pl", "pol_Latn", "Polish", "polski", "Latn", "Slavic"),
    Language("ti", "tir_Ethi", "Tigrinya", "ትግርኛ", "Ethi", "Semitic"),
    Language("kam", "kam_Latn", "Kamba", "Kikamba", "Latn", "Bantu"),
    Language("luo", "luo_Latn", "Luo", "Dholuo", "Latn", "Nilotic"),
    Language("ay", "ayr_Latn", "Aymara", "Aymar aru", "Latn", "Aymaran"),
    Language("awa", "awa_Deva", "Awadhi", "अवधी", "Deva", "Indo-Aryan"),
    Language("bho", "bho_Deva", "Bhojpuri", "भोजपुरी", "Deva", "Indo-Aryan"),
    Language("dyu", "dyu_Latn", "Dyula", "Julakan", "Latn", "Mande"),
    Language("fur", "fur_Latn", "Friulian", "furlan", "Latn", "Romance"),
    Language("kab", "kab_Latn", "Kabyle", "Taqbaylit", "Latn", "Berber"),
    Language("ln", "lin_Latn", "Lingala", "lingála", "Latn", "Bantu"),
)

LANGUAGES: dict[str, Language] = {language.code: language for language in _TABLE}

PAPER_A = ("en", "de", "fr", "zh", "ru", "jv", "ur", "ha", "hy")
"""The nine source and question languages of paper A (section 2.1)."""

PAPER_B = ("en", "es", "fr", "zh", "bn", "hi", "th", "ms", "vi")
"""The nine languages of paper B (section 3)."""

RELATIVES = tuple(language.relative for language in _TABLE if language.relative is not None)
"""The eight related languages of paper A's family strategy (section 3.2)."""

MULTILINGUAL = (
    "es",
    "pt",
    "ja",
    "it",
    "nl",
    "sv",
    "ar",
    "hi",
    "bn",
    "pl",
    "ti",
    "kam",
    "luo",
    "ay",
    "awa",
    "bho",
    "dyu",
    "fur",
    "kab",
    "ln",
)
"""The twenty languages of paper A's multilingual strategy (section 3.2)."""


class UnknownLanguage(UserError, ValueError):
    """A code that the table does not have; the message suggests the nearest."""


def find(code: str) -> Language:
    """The language with this BCP-47 code, FLORES code or English name.

    Raises:
        UnknownLanguage: none has it; the message suggests the nearest.
    """
    if code in LANGUAGES:
        return LANGUAGES[code]
    wanted = code.casefold()
    for language in _TABLE:
        if wanted in (language.code.casefold(), language.flores.casefold(), language.name.casefold()):
            return language
    names = [*LANGUAGES, *(language.name for language in _TABLE), *(language.flores for language in _TABLE)]
    known = ", ".join(LANGUAGES)
    hint = nearest(code, names).split("Known:")[0].strip()
    raise UnknownLanguage(f"unknown language {code!r}. {hint + ' ' if hint else ''}Known codes: {known}.")
