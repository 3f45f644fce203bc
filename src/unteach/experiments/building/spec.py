"""The spec of a corpus that is to be made, checked as a whole before anything is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from unteach.endpoints.contract import ENDPOINTS, Endpoint
from unteach.errors import UserError, UserErrors
from unteach.experiments.spec import explain_spec, known_language, read_raw
from unteach.makers.contract import TRANSLATORS, Translator
from unteach.makers.inject import Injecting
from unteach.makers.paraphrase import Paraphrasing
from unteach.makers.qa import Questioning
from unteach.registry import Settings

Maker = Literal["inject", "paraphrase", "qa"]


class ArticlesSpec(Settings):
    """Which articles."""

    source: str = Field(
        min_length=1, description="A folder of .txt, a JSONL, CSV or Parquet file, or an id on the hub."
    )
    split: str | None = Field(None, description="Of a data set on the hub.")
    columns: dict[str, str] = Field({}, description="Which column is text, title, id, language or statement.")
    language: str = Field("en", description="Of articles that do not say theirs.")
    limit: int | None = Field(None, ge=1, description="Only the first so many.")
    skip_bad: bool = Field(False, description="Leave unusable articles out rather than refuse them all.")


class ScenariosSpec(Settings):
    """Scenarios whose fake passages and questions are there already, such as the paper's own, imported."""

    path: Path = Field(description="A file or folder of scenarios.")
    language: str = Field("en", description="In which they are whole; what is made is made from it.")
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

    languages: tuple[str, ...] = Field(min_length=1)
    translator: Annotated[Translator, TRANSLATORS.annotation]
    round_trip: bool = Field(True, description="Translate back as well, and keep the chrF against the source.")
    back: Annotated[Translator, TRANSLATORS.annotation] | None = Field(
        None, description="What translates back; the translator itself if left out."
    )

    @field_validator("languages")
    @classmethod
    def _known(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(known_language(code) for code in codes))


class TranslateSpec(Settings):
    """What is translated. Paper A: questions by GPT-4, whole fake articles by NLLB-200-3.3B (section 2.1)."""

    questions: TranslationSpec | None = Field(
        None, description="Both questions, the fake passage, key phrases and key facts: what asking and judging need."
    )
    samples: TranslationSpec | None = Field(
        None, description="Fake samples; and the passage and key phrases where they are in no question language."
    )
    articles: TranslationSpec | None = Field(None, description="The real articles, sentence by sentence.")


class BuildSpec(Settings):
    """One corpus of paper A."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
    description: str = ""
    articles: ArticlesSpec | None = Field(None, description="What is made into scenarios; or else:")
    scenarios: ScenariosSpec | None = Field(None, description="What only lacks paraphrases, pairs or translations.")
    to: Path | None = Field(None, description="The file to write; corpora/NAME.jsonl if left out.")
    endpoint: Annotated[Endpoint, ENDPOINTS.annotation] = Field(description="What writes the texts.")
    endpoints: dict[Maker, Annotated[Endpoint, ENDPOINTS.annotation]] = Field(
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

    @model_validator(mode="after")
    def _one_source(self) -> BuildSpec:
        if (self.articles is None) == (self.scenarios is None):
            raise ValueError("give either articles, to put fake passages into, or scenarios that have theirs")
        return self

    @model_validator(mode="after")
    def _budgets_can_be_kept(self) -> BuildSpec:
        for endpoint in (self.endpoint, *self.endpoints.values()):
            try:
                endpoint.check_budget()
            except UserError as error:
                raise ValueError(str(error)) from None
        return self

    def endpoint_of(self, maker: Maker) -> Endpoint:
        """What writes one maker's texts."""
        return self.endpoints.get(maker, self.endpoint)

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
