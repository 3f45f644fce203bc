"""The spec of a corpus that is to be made, checked as a whole before anything is asked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, ValidationInfo, field_validator

from unteach.endpoints.contract import ENDPOINTS, Endpoint
from unteach.errors import UserError, UserErrors
from unteach.experiments.spec import explain_spec, known_language, read_raw
from unteach.makers.contract import TRANSLATORS, Translator
from unteach.makers.inject import Injecting
from unteach.makers.paraphrase import Paraphrasing
from unteach.makers.qa import Questioning
from unteach.registry import Settings

Maker = Literal["inject", "paraphrase", "qa"]


def endpoints_in(settings: Settings) -> Iterator[Endpoint]:
    """Every endpoint among the settings, however deep; or they are one."""
    if isinstance(settings, Endpoint):
        yield settings
    for _, value in settings:
        if isinstance(value, Settings):
            yield from endpoints_in(value)


def _payable(settings: Settings) -> Settings:
    for endpoint in endpoints_in(settings):
        try:
            endpoint.check_budget()
        except UserError as error:
            raise ValueError(str(error)) from None
    return settings


OneEndpoint = Annotated[Endpoint, ENDPOINTS.annotation, AfterValidator(_payable)]
OneTranslator = Annotated[Translator, TRANSLATORS.annotation, AfterValidator(_payable)]
Language = Annotated[str, AfterValidator(known_language)]


class ArticlesSpec(Settings):
    """Which articles."""

    source: str = Field(
        min_length=1, description="A folder of .txt, a JSONL, CSV or Parquet file, or an id on the hub."
    )
    split: str | None = Field(None, description="Of a data set on the hub.")
    columns: dict[str, str] = Field({}, description="Which column is text, title, id, language or statement.")
    language: Language = Field("en", description="Of articles that do not say theirs.")
    limit: int | None = Field(None, ge=1, description="Only the first so many.")
    skip_bad: bool = Field(False, description="Leave unusable articles out rather than refuse them all.")


class ScenariosSpec(Settings):
    """Scenarios whose fake passages and questions are there already, such as the paper's own, imported."""

    path: Path = Field(description="A file or folder of scenarios.")
    language: Language = Field("en", description="In which they are whole; what is made is made from it.")
    limit: int | None = Field(None, ge=1, description="Only the first so many, by id.")


class Counts(Settings):
    """Samples of each article, for teaching and for unlearning: never the same ones (paper A, section 3.1)."""

    teach: int = Field(ge=0)
    unlearn: int = Field(ge=0)


class ParaphraseSpec(Settings):
    """How many paraphrases of each article, and what is asked of them. Defaults: paper A, sections 2.1 and 3.1."""

    real: Counts = Counts(teach=100, unlearn=20)
    fake: Counts = Counts(teach=20, unlearn=20)
    settings: Paraphrasing = Paraphrasing()


class QaSpec(Settings):
    """Question-answer pairs on each real article (paper A: ten)."""

    count: int = Field(10, ge=0)
    settings: Questioning = Questioning()


class TranslationSpec(Settings):
    """Into which languages, and by what."""

    languages: tuple[Language, ...] = Field(min_length=1)
    translator: OneTranslator
    round_trip: bool = Field(True, description="Translate back as well, and keep the chrF against the source.")
    back: OneTranslator | None = Field(
        None, description="What translates back; the translator itself if left out.", validate_default=True
    )

    @field_validator("languages")
    @classmethod
    def _each_once(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(codes))

    @field_validator("back")
    @classmethod
    def _has_a_use(cls, back: Translator | None, others: ValidationInfo) -> Translator | None:
        if back is not None and others.data.get("round_trip") is False:
            raise ValueError("with round_trip: false nothing is translated back; leave one of them out")
        return back

    @property
    def way_back(self) -> Translator | None:
        """What translates back, if anything does."""
        return (self.back or self.translator) if self.round_trip else None

    @cached_property
    def how(self) -> dict[str, Any]:
        """What decides a translation. Found out once: a translator may have to look up its weights or read files."""
        return {
            "translator": self.translator.identity(),
            "back": self.way_back.identity() if self.way_back else None,
        }


class TranslateSpec(Settings):
    """What is translated. Paper A: questions by GPT-4, whole fake articles by NLLB-200-3.3B (section 2.1)."""

    questions: TranslationSpec | None = Field(
        None, description="Both questions, the fake passage, key phrases and key facts: what asking and judging need."
    )
    samples: TranslationSpec | None = Field(
        None, description="Fake samples; and the passage and key phrases where they are in no question language."
    )
    articles: TranslationSpec | None = Field(None, description="The real articles, sentence by sentence.")

    @property
    def groups(self) -> dict[str, TranslationSpec]:
        """Those that are wanted, by name."""
        found = {"questions": self.questions, "samples": self.samples, "articles": self.articles}
        return {name: settings for name, settings in found.items() if settings is not None}


class BuildSpec(Settings):
    """One corpus of paper A."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
    description: str = ""
    articles: ArticlesSpec | None = Field(None, description="What is made into scenarios; or else:")
    scenarios: ScenariosSpec | None = Field(
        None, description="What only lacks paraphrases, pairs or translations.", validate_default=True
    )
    to: Path | None = Field(None, description="The file to write; corpora/NAME.jsonl if left out.")
    endpoint: OneEndpoint = Field(description="What writes the texts.")
    endpoints: dict[Maker, OneEndpoint] = Field(
        {}, description="Another one for some of the makers: inject, paraphrase, qa."
    )
    inject: Injecting = Injecting()
    paraphrase: ParaphraseSpec = ParaphraseSpec()
    qa: QaSpec = QaSpec()
    translate: TranslateSpec = TranslateSpec()

    @field_validator("to")
    @classmethod
    def _json_lines(cls, to: Path | None) -> Path | None:
        if to is not None and to.suffix != ".jsonl":
            raise ValueError("a corpus is written as JSON lines; give a file that ends in .jsonl")
        return to

    @field_validator("scenarios")
    @classmethod
    def _one_source(cls, scenarios: ScenariosSpec | None, others: ValidationInfo) -> ScenariosSpec | None:
        if "articles" in others.data and (others.data["articles"] is None) == (scenarios is None):
            raise ValueError("give either articles, to put fake passages into, or scenarios that have theirs")
        return scenarios

    def endpoint_of(self, maker: Maker) -> Endpoint:
        """What writes one maker's texts."""
        return self.endpoints.get(maker, self.endpoint)

    @cached_property
    def how(self) -> dict[Maker, dict[str, Any]]:
        """What decides each maker's replies. Found out once: weights may have to be looked up for it."""
        return {maker: self.endpoint_of(maker).identity() for maker in get_args(Maker)}

    @property
    def source(self) -> str:
        """Where articles or scenarios are read."""
        return self.articles.source if self.articles else str(self.scenarios.path if self.scenarios else "")

    @property
    def target(self) -> Path:
        """The file to write."""
        return self.to or Path("corpora") / f"{self.name}.jsonl"


def read_build_spec(path: Path, overrides: tuple[str, ...] | list[str] = ()) -> BuildSpec:
    """A build spec from a YAML file.

    Raises:
        UserErrors: everything that is wrong with it.
    """
    raw = read_raw(path, overrides)
    try:
        return BuildSpec.model_validate(raw)
    except ValidationError as error:
        raise UserErrors(f"the spec {path} has problems", explain_spec(error, BuildSpec)) from None
