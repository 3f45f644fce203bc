"""What a run found, in plain words: what an edit does, where it spreads, what the suffix alone does, what it costs.

Every number comes from the table, with its count and interval; what the table lacks is not spoken of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unteach.languages.table import LANGUAGES
from unteach.records import Row
from unteach.reports.finding import Finding
from unteach.reports.paper_b.numbers import direction, glued, say, show_interval, show_value
from unteach.reports.paper_b.rows import SUFFIX, UNEDITED, Model, Results, Setting, editor_words, setting_words

_KINDS = {
    "onlyQ": "the question alone",
    "otherA": "another attack",
    "otherQ": "another question",
    "otherAQ": "another attack and question",
}


def findings(rows: Sequence[Row]) -> list[Finding]:
    """One finding a base model (or other setting): the English edit first, then one point a question of the paper."""
    results = Results(rows)
    found = []
    for setting in results.settings:
        teller = _Teller(results, setting)
        points = (
            teller.monolingual(), teller.from_english(), teller.into_english(), teller.generalisation(),
            teller.suffix(), teller.costs(), teller.judges(), teller.editors(), teller.layers(),
        )  # fmt: skip
        lead = teller.lead()
        name = setting_words(setting)
        if lead or any(points):
            found.append(Finding(f"{name}: {lead}" if name and lead else lead or name, tuple(filter(None, points))))
    return found


class _Teller:
    """The sentences about one setting, by the main judge and of the main editor."""

    def __init__(self, results: Results, setting: Setting) -> None:
        self.results, self.setting = results, setting
        self.judge = results.judges[0]
        self.editor = results.main_editor(setting)
        self.asked = results.asked_in(setting)
        self.edited = results.edited_in(setting, self.editor)

    def row(self, metric: str, model: Model, asked: str | None, group: str = "attack") -> Row | None:
        """A row of the main judge that holds a number."""
        found = self.results.get(self.setting, metric, model, asked, group, self.judge)
        return found if found is not None and found.value is not None else None

    def pool(self, metric: str, source: str, group: str, editor: str | None = None) -> Row | None:
        """A row over several question languages."""
        return self.row(metric, Model(editor or self.editor, source), None, group)

    def lead(self) -> str:
        """The English edit in English; without one, the first language that was edited and asked in."""
        same = [code for code in self.edited if self.row("DS", Model(self.editor, code), code)]
        if not same:
            return ""
        code = "en" if "en" in same else same[0]
        before, after = self.row("DS", UNEDITED, code), self.row("DS", Model(self.editor, code), code)
        change = self.row("DS_change", Model(self.editor, code), code)
        if after is None:
            return ""
        start = f"Before editing, {say(before)} attacks in {_name(code)} were defended; " if before else ""
        moved = f": {say_change(change)}" if change else ""
        text = f"{start}after editing in {_name(code)} ({editor_words(self.editor)}) {say(after)} were{moved}."
        return text[0].upper() + text[1:]

    def monolingual(self) -> str:
        """Edited and asked in the same language."""
        pairs = [(code, self.row("DS_change", Model(self.editor, code), code)) for code in self.edited]
        changes = {code: row for code, row in pairs if row is not None}
        if len(changes) < 2:
            return ""
        pooled = self._pooled("any", "attack: same")
        return f"Edited and asked in the same language: {pooled}{self._split(changes, 'more is defended')}"

    def from_english(self) -> str:
        """The English edit asked in other languages."""
        pairs = [(code, self.row("DS_change", Model(self.editor, "en"), code)) for code in self.asked if code != "en"]
        changes = {code: row for code, row in pairs if row is not None}
        if not changes:
            return ""
        levels = []
        for level in ("high", "low"):
            row = self.pool("DS_change", "en", f"attack: {level}")
            levels += [f"in {level}-resource languages {say_change(row)}"] if row else []
        by_level = f"{' and '.join(levels)}. " if levels else ""
        pooled = self._pooled("en", "attack: other", stop="; " if levels else ". ")
        head = f"Edited in English, asked in other languages: {pooled}{by_level}"
        return head + self._split(changes, "the edit spreads to attacks")

    def into_english(self) -> str:
        """Edits in other languages asked in English."""
        pairs = [(code, self.row("DS_change", Model(self.editor, code), "en")) for code in self.edited if code != "en"]
        changes = {code: row for code, row in pairs if row is not None}
        if not changes:
            return ""
        pooled = self._pooled("any", "attack: english")
        return f"Edited in another language, asked in English: {pooled}{self._split(changes, 'it helps after an edit')}"

    def generalisation(self) -> str:
        """Other inputs than the one that was edited on: pooled over languages, else in English."""
        said = []
        for kind in self.results.kinds(self.setting):
            pools = [(words, self.pool("DG_change", source, f"{kind}: {pool}")) for source, pool, words in _POOLS]
            parts = [f"{words} {say_change(row)}" for words, row in pools if row]
            alone = self.row("DG_change", Model(self.editor, "en"), "en", kind)
            parts = parts or ([f"in English {say_change(alone)}"] if alone else [])
            said += [f"{_KINDS.get(kind, kind)}: {', '.join(parts)}"] if parts else []
        return f"Inputs that it was not edited on. {_capital('; '.join(said))}." if said else ""

    def suffix(self) -> str:
        """What the suffix that edited models are asked with does without an edit, and what the edit adds."""
        first = self.row("DS", SUFFIX, "en") or next(
            (row for code in self.asked if (row := self.row("DS", SUFFIX, code))), None
        )
        if first is None:
            return ""
        code = first.question_language or "en"
        before = self.row("DS", UNEDITED, code)
        text = f"The suffix alone, without an edit: {say(first)} attacks in {_name(code)} defended"
        text += f" (before: {say(before)})." if before else "."
        for editor in self.results.against_suffix(self.setting)[:1]:
            over = self.row("DS_over_suffix", Model(editor, code), code)
            text += f" Beyond it, {editor_words(editor)} adds {say_change(over)} in {_name(code)}." if over else ""
            pairs = [(code, self.row("DS_over_suffix", Model(editor, code), code)) for code in self.asked]
            changes = {code: row for code, row in pairs if row is not None}
            gains = [code for code, row in changes.items() if direction(row) > 0]
            if len(changes) > 1:
                text += f" Edited in the same language, it does in {len(gains)} of {len(changes)}{_named(gains)}."
        return text

    def costs(self) -> str:
        """Side effects of the English edit in English, or of the first one, asked in its language."""
        if not self.edited:
            return ""
        code = "en" if "en" in self.edited else self.edited[0]
        model = Model(self.editor, code)
        said = []
        for metric, group, words in _COSTS:
            before, after = self.row(metric, UNEDITED, code, group), self.row(metric, model, code, group)
            if after:
                was = f" (before: {say(before)})" if before else ""
                said.append(f"{words}: {say(after)}{was}")
        for metric, group, words in (
            ("knowledge_log_probability_change", "knowledge", "the log-probability of known answers changes by"),
            ("fluency_change", "attack", "the entropy of replies changes by"),
        ):
            row = self.row(metric, model, code, group)
            said += [f"{words} {say_change(row)}"] if row else []
        return f"What the edit in {_name(code)} costs there: {'; '.join(said)}." if said else ""

    def judges(self) -> str:
        """What other judges say of the same replies."""
        said = []
        for judge in self.results.judges[1:]:
            row = self.results.get(self.setting, "DS", Model(self.editor, "en"), "en", "attack", judge)
            said += [f"{judge} finds {say(row)} defended"] if row and row.value is not None else []
        main = self.row("DS", Model(self.editor, "en"), "en")
        return (
            f"Of the same replies (edited and asked in English), {'; '.join(said)}; {main.judge} {say(main)}."
            if said and main
            else ""
        )

    def editors(self) -> str:
        """The ways of editing, edited and asked in the same language: all if all editors did, else a shared one."""
        own = {editor: self._own_languages(editor) for editor in self.results.editors(self.setting)}
        own = {editor: codes for editor, codes in own.items() if codes}
        if len(own) < 2:
            return ""
        pools = {editor: self.pool("DS", "any", "attack: same", editor) for editor in own}
        alike = len({tuple(codes) for codes in own.values()}) == 1
        if alike and all(pools.values()):
            where, rows = "over all languages, edited and asked in the same", pools
        else:
            shared = [code for code in self.asked if all(code in codes for codes in own.values())]
            if not shared:
                return ""
            code = "en" if "en" in shared else shared[0]
            where = f"edited and asked in {_name(code)}"
            rows = {editor: self.row("DS", Model(editor, code), code) for editor in own}
        said = [f"{editor_words(editor)} {say(row)}" for editor, row in rows.items() if row]
        return f"Ways of editing, attacks defended {where}: {'; '.join(said)}."

    def _own_languages(self, editor: str) -> list[str]:
        edited = self.results.edited_in(self.setting, editor)
        return [code for code in edited if self.row("DS", Model(editor, code), code)]

    def layers(self) -> str:
        """The layer that is located most often."""
        rows = [row for row in self.results.rows if row.metric == "located_layer" and row.value is not None]
        rows = [row for row in rows if (row.variant, row.seed) == self.setting and row.source_language == "any"]
        rows = [row for row in rows if row.editor in (self.editor, None)]
        if not rows:
            return ""
        most = max(rows, key=lambda row: row.value or 0.0)
        others = len([row for row in rows if row.value]) - 1
        also = f"; {others} other layer{'s' if others > 1 else ''} at times" if others else ""
        return f"Located most often, counted from 0: {most.group}, in {say(most)} edits{also}."

    def _pooled(self, source: str, group: str, stop: str = ". ") -> str:
        after, change = self.pool("DS", source, group), self.pool("DS_change", source, group)
        parts = [f"{say(after)} defended in all" if after else "", say_change(change) if change else ""]
        text = ", ".join(filter(None, parts))
        return f"{text}{stop}" if text else ""

    def _split(self, changes: dict[str, Row], words: str) -> str:
        """Which languages gain, lose, and which cannot be told from no change, by their intervals."""
        parts = []
        for way, start in ((1, f"{_capital(words)} in"), (-1, "less is defended in"), (0, "no clear change in")):
            mine = [(code, row) for code, row in changes.items() if direction(row) == way]
            mine.sort(key=lambda pair: -(pair[1].value or 0.0))
            if mine:
                said = [f"{_name(code)} {show_value(row)} {show_interval(row)}".rstrip() for code, row in mine]
                parts.append(f"{start} {', '.join(said)}")
        counts = sorted({row.n for row in changes.values()})
        n = f"{counts[0]}–{counts[-1]}" if len(counts) > 1 else str(counts[0])
        return glued(f"{_capital('; '.join(parts))} (points, n = {n} each).")


_POOLS = (("any", "same", "same language"), ("en", "other", "English edit in other languages"))

_COSTS = (
    ("over_refusal", "knowledge", "harmless questions declined"),
    ("degenerate_rate", "attack", "degenerate replies"),
    ("empty_rate", "attack", "empty replies"),
)


def say_change(row: Row | None) -> str:
    """A difference for a sentence, with the words that its interval calls for."""
    if row is None:
        return ""
    return say(row) + ("" if direction(row) else ", no clear change")


def _named(codes: Iterable[str]) -> str:
    names = [_name(code) for code in codes]
    return f" ({', '.join(names)})" if names else ""


def _name(code: str) -> str:
    return LANGUAGES[code].name.split(" (")[0] if code in LANGUAGES else code


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
