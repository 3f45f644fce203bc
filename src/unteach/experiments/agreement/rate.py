"""What raters say of a sample: people's files and second judges, gathered in ``agreement.json`` of the run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from unteach.errors import UserError, UserErrors
from unteach.experiments.agreement.draw import Key
from unteach.experiments.agreement.scored import FinishedRun, Scored
from unteach.experiments.agreement.sheet import read_label, read_sheet, same_text, shown
from unteach.judge.contract import JUDGES
from unteach.judge.safety import SAFETY_JUDGES
from unteach.metrics.agreement import SCALES, Label
from unteach.metrics.rated import (
    COLUMNS,
    FILE,
    Findings,
    JudgedAnswer,
    RatedSample,
    RatedSamples,
    Rater,
    evaluate,
    read_rated,
    tidy,
)
from unteach.progress import Progress
from unteach.records import Answer, Question, Reply, Request
from unteach.registry import Component, UnknownName, label
from unteach.store import write_atomically


def read_person(path: Path, key: Key) -> tuple[Rater, list[str]]:
    """One person's labels and comments, and everything that is wrong with the file.

    Rows that are gone, and labels that are empty or ``?``, are unlabelled.
    """
    scale = SCALES[key.drawing.metric]
    known = {item.id: item for item in key.items}
    labels, comments, problems = dict[str, Label](), dict[str, str](), list[str]()
    seen: dict[str, int] = {}
    for number, row in read_sheet(path):
        place, identifier = f"{path}, row {number}", row["id"].strip()
        if identifier not in known:
            problems.append(f"{place}: id {identifier!r} is not in this sample; put the id back or take the row out")
            continue
        if identifier in seen:
            problems.append(f"{place}: id {identifier!r} is already in row {seen[identifier]}; take one of them out")
            continue
        seen[identifier] = number
        for name in ("question", "answer"):
            if name in row and not same_text(row[name], getattr(known[identifier], name)):
                problems.append(f"{place}: the {name} was changed; copy it from the sample that was drawn")
        try:
            found = read_label(row["label"], scale)
        except ValueError as error:
            problems.append(f"{place}: label {row['label']!r} is not allowed; give {error}, or leave it empty")
            continue
        if found is not None:
            labels[identifier] = found
        if comment := row.get("comment", "").strip():
            comments[identifier] = comment
    return Rater(kind="person", labels=labels, comments=comments), problems


def read_people(files: Mapping[str, Path], key: Key) -> dict[str, Rater]:
    """Several persons' files, by the persons' names.

    Raises:
        UserErrors: everything that is wrong with any of them.
        UserError: a file has no label at all.
    """
    raters, problems = dict[str, Rater](), list[str]()
    for name, path in files.items():
        raters[name], found = read_person(path, key)
        problems += found
        if not raters[name].labels and not found:
            problems.append(f"{path}: no row has a label; fill in the column “label”")
    if problems:
        raise UserErrors("the labels cannot be used", problems)
    return raters


def second_judge(run: FinishedRun, key: Key, judge: Component, progress: Progress) -> Rater:
    """A judge's labels of the sample; answers that it does not score are unlabelled.

    Raises:
        UserError: the run is not the one that was drawn from, or the judge scores none of the sample.
    """
    answers = checked(run, key)
    chosen = [answers[item.id] for item in key.items]
    said: list[Label | None]
    if run.kind == "editing":
        defences = SAFETY_JUDGES.parse(judge)([_reply(one) for one in chosen], run.items(), progress)
        said = [defence.outcome for defence in defences]
    else:
        scenarios = run.corpus().by_id
        pairs = [(_answer(one), scenarios[one.tags["item"]]) for one in chosen]  # a list, so that progress has an end
        yes = ("no", "yes") if key.drawing.metric == "O_F" else ()
        verdicts: Any = JUDGES.parse(judge)(pairs, progress)
        values = [verdict.value for verdict in verdicts]
        said = [yes[int(value >= 0.5)] if yes and value is not None else value for value in values]
    labels = {one.id: found for one, found in zip(chosen, said, strict=True) if found is not None}
    if not labels:
        raise UserError(f"the judge {label(judge)} scored none of the sample's {len(chosen)} answers")
    return Rater(kind="judge", labels=labels)


def read_judge(given: str, run: FinishedRun) -> Component:
    """A judge by its name, or from a YAML file with its name and settings.

    Raises:
        UserError: no judge of the run's kind has that name, or a setting is wrong.
    """
    registry: Any = SAFETY_JUDGES if run.kind == "editing" else JUDGES
    path = Path(given)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.suffix in (".yaml", ".yml") else given
        found: Component = registry.parse(content)
    except FileNotFoundError:
        raise UserError(f"there is no file {given}") from None
    except (UnknownName, ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the judge {given} cannot be used: {error}") from None
    return found


def add_raters(run: FinishedRun, key: Key, raters: Mapping[str, Rater]) -> Findings:
    """Put raters beside those that the sample has, and write ``agreement.json`` and ``agreement.csv`` anew.

    A rater that is already there is replaced. Other judges of the run itself are raters too.

    Raises:
        UserError: the run is not the one that was drawn from, or a rater has the name of the run's judge.
    """
    about = key.about
    answers = checked(run, key)
    check_names(answers, key, raters)
    others = _other_judges(answers, key)
    file = run.folder / FILE
    before = read_rated(run.folder)
    mine = next((sample for sample in before if sample.findings.about.sample == about.sample), None)
    everyone = {**others, **(mine.raters if mine else {}), **raters}
    judged = [
        JudgedAnswer(one.tags["item"], one.model, one.tags["language"], verdict)
        for one in answers.values()
        if (verdict := one.verdicts.get(about.judge)) is not None
        and all(one.tags[tag] == value for tag, value in key.drawing.where.items())
    ]
    findings = evaluate(about, key.items, everyone, judged)
    samples = [sample for sample in before if sample is not mine] + [RatedSample(raters=everyone, findings=findings)]
    write_atomically(file, RatedSamples(samples=tuple(samples)).model_dump_json(indent=1))
    write_atomically(file.with_suffix(".csv"), _as_csv(samples))
    return findings


def check_names(answers: Mapping[str, Scored], key: Key, names: Iterable[str]) -> None:
    """Raises ``UserError`` where a rater would have the name of one of the run's judges."""
    judges = {key.drawing.judge, *_other_judges(answers, key)}
    for name in names:
        if name in judges:
            raise UserError(f"{name!r} is what a judge of the run is called; give the rater another name with --name")


def checked(run: FinishedRun, key: Key) -> dict[str, Scored]:
    """The run's answers by id.

    Raises:
        UserError: an answer of the sample, or what the judge says of it, is no longer that of the run.
    """
    run.metric(key.drawing.metric)
    answers = {answer.id: answer for answer in run.answers(key.drawing.metric)}
    for item in key.items:
        found = answers.get(item.id)
        if found is None or shown(found.answer) != item.answer or found.verdicts.get(key.drawing.judge) != item.verdict:
            raise UserError(
                f"{run.folder} is not the run that this sample was drawn from, or it has changed since (answer "
                f"{item.id!r}). Draw a new sample."
            )
    return answers


def _other_judges(answers: Mapping[str, Scored], key: Key) -> dict[str, Rater]:
    names = dict.fromkeys(judge for item in key.items for judge in answers[item.id].verdicts)
    found = {}
    for name in names:
        said = {item.id: answers[item.id].verdicts.get(name) for item in key.items}
        labels = {identifier: verdict for identifier, verdict in said.items() if verdict is not None}
        if name != key.drawing.judge and labels:
            found[name] = Rater(kind="judge", labels=labels)
    return found


def _as_csv(samples: Sequence[RatedSample]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for sample in samples:
        writer.writerows(tidy(sample.findings))
    return out.getvalue()


def _answer(one: Scored) -> Answer:
    part: Any = one.tags["part"]
    question = Question(scenario=one.tags["item"], part=part, language=one.tags["language"], text=one.question)
    return Answer(question=question, prompt="", text=one.answer, tokens=0, finished=one.finished)


def _reply(one: Scored) -> Reply:
    kind: Any = one.tags["part"]
    request = Request(item=one.tags["item"], input=kind, language=one.tags["language"], text=one.question)
    return Reply(request=request, prompt="", text=one.answer, tokens=0, finished=one.finished)
