"""Texts that no training ever sees, the same in many languages: what a model must still find likely afterwards."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unteach.corpora.load import explain
from unteach.corpora.schema import Origin, Text
from unteach.errors import UserError, UserErrors
from unteach.languages.table import LANGUAGES
from unteach.registry import nearest

EMBEDDED_UNTOUCHED = Path(__file__).parent / "data" / "untouched.json"


class UntouchedText(BaseModel):
    """One language's texts; text i says the same in every language."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: Origin
    texts: tuple[Text, ...] = Field(min_length=1)


def load_untouched(path: Path | None = None) -> dict[str, UntouchedText]:
    """Language code -> texts, from a JSON file of that shape or the embedded one.

    Raises:
        UserErrors: the file is missing or malformed; every problem at once.
    """
    where = path or EMBEDDED_UNTOUCHED
    try:
        raw = json.loads(where.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file of untouched texts at {where}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{where} cannot be read as UTF-8 JSON: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{where}: expected a mapping from language codes to texts")
    problems, found = [], {}
    for code, content in raw.items():
        if code not in LANGUAGES:
            problems.append(f"{code}: unknown language. {nearest(code, LANGUAGES)}")
            continue
        try:
            found[code] = UntouchedText.model_validate(content)
        except ValidationError as error:
            problems += [f"{code}: {line}" for line in explain(error)]
    numbers = {code: len(texts.texts) for code, texts in found.items()}
    if len(set(numbers.values())) > 1:
        problems.append(f"every language needs the same texts, so equally many; found {numbers}")
    if problems:
        raise UserErrors(f"the untouched texts in {where} cannot be used", problems)
    return found
