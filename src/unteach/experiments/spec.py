"""The spec: everything that decides a run, typed and checked as a whole before anything slow starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError, field_validator

from unteach.ask.answers import Asking
from unteach.ask.forced_choice import Choosing
from unteach.corpora.load import Corpus
from unteach.corpora.planned import PlannedCorpus
from unteach.corpora.untouched import load_untouched
from unteach.errors import UserError, UserErrors
from unteach.experiments.planning import PlanningSpec
from unteach.judge.contract import JUDGES, Judge
from unteach.languages.phrases import has_labels
from unteach.languages.table import LANGUAGES, UnknownLanguage, find
from unteach.learn.loop import Schedule
from unteach.learn.teach import Instruct, Samples
from unteach.metrics.contract import MEASURES, Measure
from unteach.models.source import MODELS, ModelSource
from unteach.models.tuning import TUNINGS, Tuning
from unteach.registry import Component, Runtime, Settings, nearest
from unteach.unlearn.contracts import STRATEGIES, Strategy
from unteach.unlearn.run import Unlearning


def known_language(code: str) -> str:
    """The language's own code; a ``ValueError`` that suggests the nearest if there is none such."""
    try:
        return find(code).code
    except UnknownLanguage as error:
        raise ValueError(str(error)) from None


LanguageCode = Annotated[str, Field(description="BCP-47 code, see `unteach languages`.")]


class CorpusSpec(Settings):
    """Which scenarios."""

    path: Path | None = Field(None, description="A file or folder of scenarios; the embedded corpus if left out.")
    limit: int | None = Field(None, ge=1, description="Only the first so many scenarios, by id.")
    planned: Annotated[PlannedCorpus | None, Runtime()] = Field(
        None, exclude=True, description="The size of the corpus, to plan with while there is nothing at ``path``."
    )


class TeachSpec(Settings):
    """How R and F are taught."""

    tuning: Annotated[Tuning, TUNINGS.annotation]
    schedule: Schedule
    samples: Samples = Samples()
    instruct: Instruct = Instruct()


class ProbeSpec(Settings):
    """What is read at every unlearning checkpoint."""

    languages: tuple[str, ...] = Field(
        ("en", "@source"), description="Fake questions; @source is the fake's language, @questions all of the run's."
    )
    retain_texts: int = Field(16, ge=2, description="Fresh samples of real articles on which perplexity is read.")


class ForcedChoiceSpec(Choosing):
    """Which models are put to the forced choice, and in which languages."""

    models: tuple[Literal["r_only", "contaminated", "unlearned"], ...] = ("r_only", "contaminated")
    question_languages: tuple[str, ...] | None = Field(
        None, description="Those of the run if left out; @source is the fake's."
    )
    passage_languages: tuple[str, ...] | None = Field(
        None, description="Those of the run if left out; @source is the fake's."
    )


class TextsSpec(Settings):
    """Which texts every finished model scores in every question language: real ones, fake passages, untouched ones."""

    sentences: int = Field(2, ge=1, description="Sentences of the real article a scenario.")
    wording: int = Field(0, ge=0, description="Which wording of the fake passage; 0 is the first that is taught.")
    untouched: Path | None = Field(None, description="JSON file of texts of no training; the embedded one if left out.")


class UnlearnSpec(Unlearning):
    """Unlearning, with the language strategies to compare."""

    strategies: tuple[Annotated[Strategy, STRATEGIES.annotation], ...] = Field(min_length=1)


class Experiment(Settings):
    """What every experiment has, whatever it is about."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
    description: str = ""
    seed: int = Field(0, ge=0)
    model: Annotated[ModelSource, MODELS.annotation]


class Spec(Experiment):
    """One experiment with news, real and fake (paper A)."""

    corpus: CorpusSpec = CorpusSpec()
    real_language: LanguageCode = "en"
    sources: tuple[LanguageCode, ...] = Field(min_length=1, description="Languages of the fake data, a model each.")
    question_languages: tuple[LanguageCode, ...] = Field(min_length=1)
    fake_question_languages: tuple[LanguageCode, ...] = Field(
        (), description="More languages in which only the questions on the fake are asked (paper A, Fig. 6)."
    )
    teach: TeachSpec
    unlearn: UnlearnSpec | None = None
    probe: ProbeSpec = ProbeSpec()
    ask: Asking = Asking()
    judge: Annotated[Judge, JUDGES.annotation]
    forced_choice: ForcedChoiceSpec | None = None
    texts: TextsSpec | None = None
    measures: tuple[Annotated[Measure, MEASURES.annotation], ...] = Field(
        default_factory=lambda: tuple(MEASURES.parse(name) for name, _ in MEASURES)
    )
    planning: Annotated[PlanningSpec, Runtime()] = Field(
        PlanningSpec(), exclude=True, description="What `unteach plan` reckons for."
    )

    @field_validator("sources", "question_languages", "fake_question_languages")
    @classmethod
    def _known(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(known_language(code) for code in codes))

    @field_validator("real_language")
    @classmethod
    def _known_real(cls, code: str) -> str:
        return known_language(code)


def read_raw(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A spec file as plain values, with ``path.to.field=value`` overrides (values are YAML), not yet checked.

    Raises:
        UserError: the file is missing or no YAML mapping, or an override is malformed.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no spec at {path}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: a spec is a mapping of fields, this is {type(raw).__name__}")
    for override in overrides:
        _apply_override(raw, override)
    return raw


def read_spec(path: Path, overrides: Sequence[str] = ()) -> Spec:
    """One experiment from a YAML file; see ``sweep.read_points`` for files with a grid.

    Raises:
        UserErrors: everything that is wrong with it, each with its field, value and nearest valid name.
    """
    raw = read_raw(path, overrides)
    try:
        return Spec.model_validate(raw)
    except ValidationError as error:
        raise UserErrors(f"the spec {path} has problems", explain_spec(error)) from None


def _apply_override(raw: dict[str, Any], override: str) -> None:
    where, separator, text = override.partition("=")
    if not separator or not where:
        raise UserError(f"--set {override!r}: write path.to.field=value")
    *parents, last = where.split(".")
    target = raw
    for parent in parents:
        inner = target.setdefault(parent, {})
        if isinstance(inner, str):  # a component given by its bare name
            inner = target[parent] = {"name": inner}
        if not isinstance(inner, dict):
            raise UserError(f"--set {override!r}: {parent!r} is not a group of fields")
        target = inner
    try:
        target[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override!r}: the value is not valid YAML: {error}") from None


def explain_spec(error: ValidationError, cls: type[Settings] = Spec) -> list[str]:
    """One sentence for each problem; unknown fields get the nearest valid name."""
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _fields_at(cls, problem["loc"][:-1])
            lines.append(f"{place}: unknown field. {nearest(str(problem['loc'][-1]), known) if known else ''}".strip())
        elif problem["type"] == "missing":
            lines.append(f"{place}: this field is required")
        else:
            given = problem.get("input")
            shown = "" if isinstance(given, dict) else f" (got {str(given)[:80]!r})"
            lines.append(f"{place}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return lines


def _fields_at(root: type[Settings], location: Sequence[int | str]) -> list[str]:
    """Field names of the settings class at a place in the spec; none if the place holds a component."""
    cls: Any = root
    for part in location:
        if isinstance(part, int):
            continue
        field = cls.model_fields.get(part) if hasattr(cls, "model_fields") else None
        if field is None:
            return []
        cls = _settings_class(field.annotation)
        if cls is not None and issubclass(cls, Component):  # which one it is, the annotation does not tell
            return []
    return list(cls.model_fields) if cls is not None else []


def _settings_class(annotation: Any) -> Any:
    options = [annotation, *getattr(annotation, "__args__", ())]
    return next((cls for cls in options if isinstance(cls, type) and issubclass(cls, Settings)), None)


def check_against_corpus(spec: Spec, corpus: Corpus) -> None:
    """Every text the run will need is there, and every language can be asked in.

    Raises:
        UserErrors: all that is missing.
    """
    problems = corpus.missing(spec.real_language, ["article"])  # also beside paraphrases: perplexity is read on it
    if spec.teach.instruct.mode != "none":
        problems += corpus.missing(spec.real_language, ["qa"])
    for language in spec.sources:
        problems += corpus.missing(language, ["article", "fake"], instead="fake_samples.teach")
    if spec.unlearn is not None:
        wanted = {code for s in spec.unlearn.strategies for source in spec.sources for code in s.languages(source)}
        for language in sorted(wanted):
            ready = "fake_samples.unlearn" if spec.unlearn.forget.loss_on == "article" else None
            fields = ["article", "fake"] if spec.unlearn.forget.keep else ["fake"]
            problems += corpus.missing(language, fields, instead=ready)
            texts = {s.id: s.texts[language] for s in corpus if language in s.texts}
            few = [i for i, t in texts.items() if len(t.fake) == 1 and not (ready and t.fake_samples.unlearn)]
            if few:
                problems.append(
                    f"corpus {corpus.name!r} has a single wording of the fake passage in language {language!r} for "
                    f"{', '.join(few[:3])}: teaching and unlearning need different ones, so at least two"
                )
    problems += _question_problems(spec, corpus)
    if spec.forced_choice is not None:
        problems += _choice_problems(spec, spec.forced_choice, corpus)
    if spec.texts is not None:
        untouched = load_untouched(spec.texts.untouched)
        lacking = [code for code in spec.question_languages if code not in untouched]
        if lacking:
            problems.append(f"texts.untouched: no untouched texts in {', '.join(lacking)}")
    if problems:
        raise UserErrors(f"the spec {spec.name!r} cannot run", dict.fromkeys(problems))


def _question_problems(spec: Spec, corpus: Corpus) -> list[str]:
    problems = []
    both = dict.fromkeys((*spec.question_languages, *probe_languages(spec)))
    for language in dict.fromkeys((*both, *spec.fake_question_languages)):
        if language not in LANGUAGES:
            problems.append(f"probe.languages: unknown language {language!r}. {nearest(language, LANGUAGES)}")
            continue
        if not has_labels(language):
            problems.append(
                f"question_languages: {language!r} has no question and answer labels (languages/phrases.py)"
            )
        problems += corpus.missing(language, ["fake_question", *(["real_question"] if language in both else [])])
    return problems


def _choice_problems(spec: Spec, choosing: ForcedChoiceSpec, corpus: Corpus) -> list[str]:
    problems, all_asked = [], spec.question_languages
    for source in spec.sources:
        for language in resolve_languages(choosing.passage_languages or all_asked, source):
            problems += corpus.missing(language, ["key_phrases" if choosing.candidate == "claim" else "fake"])
        for language in resolve_languages(choosing.question_languages or all_asked, source):
            problems += corpus.missing(language, ["fake_question"])
    return problems


def resolve_languages(codes: Sequence[str], source: str, questions: Sequence[str] = ()) -> tuple[str, ...]:
    """Language codes with ``@source`` replaced by the fake's language and ``@questions`` by the run's."""
    found: list[str] = []
    for code in codes:
        found += questions if code == "@questions" else [source if code == "@source" else code]
    return tuple(dict.fromkeys(found))


def probe_languages(spec: Spec) -> tuple[str, ...]:
    """Every language that some probe asks in."""
    return tuple(dict.fromkeys(code for source in spec.sources for code in probe_languages_for(spec, source)))


def probe_languages_for(spec: Spec, source: str) -> tuple[str, ...]:
    """The probe's languages for one source."""
    return resolve_languages(spec.probe.languages, source, spec.question_languages)
