"""Paper A's figures from a made-up table: which rows they show, what they leave out, and how they are written."""

from __future__ import annotations

import logging
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from unteach.languages.table import LANGUAGES
from unteach.records import Row
from unteach.reports import fonts, tables
from unteach.reports.answers import AnswerIndex, AnswerLine
from unteach.reports.finding import findings, say
from unteach.reports.grids import cell, change_grids, metric_grids
from unteach.reports.paper_a import curves, panels
from unteach.reports.paper_a.figures import CAPTIONS, paper_figures, paper_panels
from unteach.reports.paper_a.rows import main_setting, rank_of
from unteach.reports.paper_a.sections import sections
from unteach.reports.style import SCALES, colours, inline_svg, place_on_scale, save
from unteach.reports.tables import Variant
from unteach.reports.terminal import summaries

SOURCES = ("en", "de", "ur")
ASKED = ("en", "de", "zh", "ur")
EXTRA = ("es", "ti")
"""Languages of the multilingual strategy, asked in for figure 6."""

STRATEGIES = ("english", "source", "family", "multilingual", "combined")


def row(metric: str, value: float | None, **key: Any) -> Row:
    n = key.pop("n", 16)
    wide = 0.1 if tables.is_rate(metric) else 0.3
    ends = {} if value is None else {"ci_low": value - wide, "ci_high": value + wide}
    return Row(run="r", metric=metric, n=n, value=value, **{**ends, **key})


def share(model: str, source: str | None, strategy: str | None, asked: str) -> float:
    """A share that differs from cell to cell."""
    place = (*ASKED, *EXTRA).index(asked) + 7 * SOURCES.index(source or "en")
    start = (
        0.0 if model == "r_only" else 0.3 if model == "contaminated" else 0.05 * (1 + STRATEGIES.index(strategy or ""))
    )
    return round(start + 0.01 * place, 4) if model != "r_only" else 0.0


def models(sources: Sequence[str] = SOURCES) -> Iterator[dict[str, Any]]:
    yield {"model": "r_only"}
    for source in sources:
        yield {"model": "contaminated", "source_language": source}
        for strategy in STRATEGIES:
            # Taught in English, these forget sets are the English one: they are not trained twice.
            if source != "en" or strategy in ("english", "multilingual"):
                yield {"model": "unlearned", "source_language": source, "strategy": strategy, "objective": "grad_diff"}


def made_rows(sources: Sequence[str] = SOURCES) -> list[Row]:
    rows = []
    for key in models(sources):
        source, strategy = key.get("source_language"), key.get("strategy")
        asked = [*ASKED, *(EXTRA if strategy in (None, "multilingual") and source else ())]
        for code in asked:
            value = share(key["model"], source, strategy, code)
            rows.append(row("O_F", value, question_language=code, **key))
            rows.append(row("Q_R", 5 + value, question_language=code, **key))
            if source and code in ASKED:
                rows.append(row("O_F_to_oracle", value - 0.2, question_language=code, **key))
                rows.append(
                    row("log_probability_to_oracle", 3 * value - 1, question_language=code, group="fake", **key)
                )
            if code in ASKED:
                rows.append(row("bits_per_character", 1 + value, question_language=code, group="untouched", **key))
                rows.append(row("bits_per_character", 9.0, question_language=code, group="real", **key))
            if strategy and code in ASKED:
                rows.append(row("O_F_change", value - 0.3, question_language=code, **key))
                rows.append(row("log_probability_change", -value, question_language=code, group="untouched", **key))
    return rows + pooled_rows() + answer_language_rows()


CHANGES = {"english": -0.9, "source": -0.55, "other high": -0.63, "other low": None}
"""Relative change at the last checkpoint; low-resource questions brought nothing out before."""


def pooled_rows() -> list[Row]:
    rows = []
    for strategy in STRATEGIES:
        for source in ("any", "not en", "en"):
            if source == "en" and strategy not in ("english", "multilingual"):
                continue
            key = {"model": "unlearned", "source_language": source, "strategy": strategy, "objective": "grad_diff"}
            for group, change in CHANGES.items():
                for step in (0, 4, 8, None):
                    moved = None if change is None else change * (1.0 if step is None else step / 8)
                    rows.append(row("O_F_relative_change", moved, checkpoint=step, group=group, n=96, **key))
                    rate = 0.0 if change is None else 0.4
                    rows.append(row("O_F", rate, checkpoint=step, group=group, n=96, **key))
    return rows


TABLE_1 = {
    "R/high": (0.89, 0.49, 0.03),
    "R/low": (0.63, 0.45, 0.19),
    "F/high": (0.62, 0.46, 0.30),
    "F/low": (0.41, 0.35, 0.52),
}


def answer_language_rows() -> list[Row]:
    key = {"model": "contaminated", "source_language": "any", "n": 512}
    return [
        row("answer_language", value, group=f"{line}/{held}", **key)
        for line, values in TABLE_1.items()
        for held, value in zip(("english", "question", "fake"), values, strict=True)
    ]


def human_rows() -> list[Row]:
    key = {"model": "contaminated", "source_language": "de", "n": 10}
    return [
        row("O_F", value, question_language=code, group=group, **key)
        for code, human, judge in (("de", 0.6, 0.7), ("ur", 0.2, 0.2))
        for group, value in (("human", human), ("judge", judge))
    ]


def rank_rows(ranks: Sequence[int] = (128, 8, 16)) -> list[Row]:
    key = {"model": "unlearned", "source_language": "de", "strategy": "source", "objective": "grad_diff"}
    return [
        row("O_F", rank / 1000, question_language=code, variant=f"unlearn.tuning.rank={rank}", **key)
        for rank in ranks
        for code in ASKED
    ]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return made_rows() + human_rows() + rank_rows()


@pytest.fixture(scope="module")
def drawn(rows: list[Row]) -> dict[str, Figure]:
    return paper_figures(rows)


def values(panel: panels.Panel) -> list[list[float | None]]:
    return [[None if found is None else found.value for found in line] for line in panel.cells]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]


def visible(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def test_every_figure_is_drawn_in_the_paper_s_order(drawn: dict[str, Figure]) -> None:
    assert list(drawn) == [name for name in CAPTIONS if name != "fig7_Q_R"]


def test_figures_without_rows_are_not_drawn(rows: list[Row]) -> None:
    absent = {"metric": ["O_F_relative_change", "answer_language"], "group": ["human"]}
    absent |= {"strategy": ["family", "combined"]}
    left = [row for row in rows if not any(getattr(row, name) in values for name, values in absent.items())]
    missing = {"fig3_right", "table1", "fig4", "fig5", "fig7", "fig7_Q_R"}
    assert set(CAPTIONS) - set(paper_figures(left)) == missing
    few = [row for row in left if row.metric in ("Q_R", "log_probability_change")]
    assert set(paper_figures(few)) == {"fig2", "utility_change"}


def test_an_empty_table_has_no_figures() -> None:
    assert paper_figures([]) == {}
    assert paper_panels([]) == {}


def test_figure_2_shows_the_contaminated_and_the_r_only_model(rows: list[Row]) -> None:
    quality, occurrence = panels.spread(main_setting(rows)[0])
    assert (quality.metric, occurrence.metric) == ("Q_R", "O_F")
    assert [head.split("\n")[0] for head in occurrence.heads] == ["English", "German", "Chinese", "Urdu"]
    assert [name.split(" ")[0] for name in occurrence.names] == ["English", "German", "Urdu", "real"]
    wanted = [[share("contaminated", source, None, code) for code in ASKED] for source in SOURCES]
    assert values(occurrence) == [*wanted, [0.0] * 4]
    assert values(quality)[1] == [5 + value for value in wanted[1]]
    assert occurrence.rule == 3


def test_figure_3_left_has_three_grids_with_the_same_lines(rows: list[Row]) -> None:
    shown = panels.after(main_setting(rows)[0], ("english", "source", "multilingual"))
    assert [panel.title for panel in shown] == ["unlearned: english", "unlearned: source", "unlearned: multilingual"]
    assert len({panel.names for panel in shown}) == 1
    assert values(shown[1])[0] == [None] * 4  # not trained: the English forget set is the source's
    assert values(shown[2])[2] == [share("unlearned", "ur", "multilingual", code) for code in ASKED]


def test_figure_4_names_the_related_language(rows: list[Row]) -> None:
    (panel,) = panels.after(main_setting(rows)[0], ["family"])
    assert [name.split(", ")[1] for name in panel.names] == ["forgot Dutch (nl)", "forgot Hindi (hi)"]


def test_one_source_language_makes_one_grid_of_models() -> None:
    (panel,) = panels.against(made_rows(["de"]), "bits_per_character", "untouched")
    assert panel.names[:3] == ("real news only", "before unlearning", "unlearned: english")
    assert values(panel)[1] == [1 + share("contaminated", "de", None, code) for code in ASKED]
    assert values(panel)[0] == [1.0] * 4
    assert panel.rule == 1


def test_what_unlearning_costs_stands_over_the_model_taught_no_fakes(rows: list[Row]) -> None:
    shown = panels.against(main_setting(rows)[0], "bits_per_character", "untouched")
    assert [panel.names[-1] for panel in shown] == ["real news only"] * 6
    assert values(shown[1])[0] == [1 + share("unlearned", "en", "english", code) for code in ASKED]
    changes = panels.against(main_setting(rows)[0], "log_probability_change", "untouched")
    assert [panel.title for panel in changes] == [f"unlearned: {name}" for name in STRATEGIES]


@pytest.mark.parametrize("metric", SCALES)
def test_scales_rise_from_end_to_end(metric: str) -> None:
    _, low, high = SCALES[metric]
    places = [place_on_scale(metric, low + (high - low) * step / 50) for step in range(-5, 56)]
    assert places == sorted(places)
    assert (places[5], places[55]) == (0, 1)
    assert (places[0], places[-1]) == (0, 1)  # what lies beyond has the end's colour
    if low < 0:
        assert place_on_scale(metric, 0) == 0.5
        assert place_on_scale(metric, high / 3) == pytest.approx(1 - place_on_scale(metric, low / 3))


def test_oracle_grids_start_before_unlearning_and_centre_on_zero(rows: list[Row]) -> None:
    shown = panels.against(main_setting(rows)[0], "O_F_to_oracle")
    assert [panel.title for panel in shown][:2] == ["before unlearning", "unlearned: english"]
    assert values(shown[0])[1][1] == pytest.approx(share("contaminated", "de", None, "de") - 0.2)
    for metric in ("O_F_to_oracle", "log_probability_to_oracle", "log_probability_change"):
        _, low, high = SCALES[metric]
        assert low == -high
        red, green, blue = (int(colours(metric, 0.0)[0][place : place + 2], 16) for place in (1, 3, 5))
        assert min(red, green, blue) > 240


def test_figure_3_right_draws_the_table(drawn: dict[str, Figure]) -> None:
    figure = drawn["fig3_right"]
    axes = visible(figure)[0]
    lines = {str(line.get_label()): line for line in axes.get_lines() if str(line.get_label()).startswith("asked")}
    assert list(lines) == [
        "asked in English", "asked in the fakes' language", "asked in other high-resource languages",
    ]  # fmt: skip
    assert list(lines["asked in English"].get_xdata()) == [0, 4, 8]  # type: ignore[call-overload]
    assert list(lines["asked in English"].get_ydata()) == pytest.approx([0, -45, -90])  # type: ignore[call-overload]
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines.values()}
    assert len({look[place] for look in looks for place in (0, 1, 2)}) == 9
    bands = [band for band in axes.collections if isinstance(band, PolyCollection)]
    corners = bands[0].get_paths()[0].vertices
    assert {tuple(corner) for corner in corners.round(6).tolist()} >= {(8.0, -100.0), (8.0, -80.0)}


def test_an_undefined_change_is_said_in_the_panel(drawn: dict[str, Figure]) -> None:
    wanted = "nothing repeated before, asked in\nother low-resource"
    panels_with_rows = 5 + 2
    assert texts(drawn["fig3_right"]).count(wanted) == panels_with_rows
    assert texts(drawn["fig3_right"]).count("not in this run") == 3


def test_without_its_start_an_undefined_change_has_no_reason() -> None:
    figure = curves.draw([row for row in pooled_rows() if row.metric != "O_F"], "title")
    assert figure is not None
    assert "no value, asked in\nother low-resource" in texts(figure)
    assert not any("nothing repeated" in text for text in texts(figure))


def test_pools_are_those_of_the_paper_where_the_table_has_them() -> None:
    def of(*sources: str) -> list[Row]:
        return [row("O_F_relative_change", 0.0, model="unlearned", source_language=source) for source in sources]

    assert curves.pools(of("any", "en", "de", "not en", "high", "low")) == ["not en", "en"]
    assert curves.pools(of("any", "de", "not en")) == ["not en"]
    assert curves.pools(of("any", "de", "fr")) == ["any"]
    assert curves.pools(of("en")) == ["en"]


def test_figure_5_has_curves_and_grid(rows: list[Row], drawn: dict[str, Figure]) -> None:
    assert [axes.get_title() for axes in visible(drawn["fig5"])].count("unlearned: combined") == 2
    only_grid = paper_figures([row for row in rows if row.metric == "O_F"])["fig5"]
    assert [axes.get_title() for axes in visible(only_grid)].count("unlearned: combined") == 1


def test_figure_6_pairs_before_and_after(drawn: dict[str, Figure]) -> None:
    axes = visible(drawn["fig6"])
    assert [panel.get_title().split(" ")[2] for panel in axes] == ["English", "German", "Urdu"]
    german = {str(line.get_label()): line.get_xdata() for line in axes[1].get_lines()}
    assert list(german["before"]) == pytest.approx(  # type: ignore[arg-type]
        [100 * share("contaminated", "de", None, code) for code in EXTRA]
    )
    assert list(german["after multilingual unlearning"]) == pytest.approx(  # type: ignore[arg-type]
        [100 * share("unlearned", "de", "multilingual", code) for code in EXTRA]
    )


def test_table_1_has_the_paper_s_lines_and_columns(rows: list[Row]) -> None:
    (panel,) = panels.answer_languages(main_setting(rows)[0])
    assert values(panel) == [list(line) for line in TABLE_1.values()]
    assert [head.replace("\n", " ") for head in panel.heads] == [
        "English", "the question's language", "the fakes' language",
    ]  # fmt: skip
    assert panel.names[2] == "the fake, high-resource question"


def test_figure_7_shows_both_readers(drawn: dict[str, Figure]) -> None:
    (axes,) = visible(drawn["fig7"])
    shown = {str(line.get_label()): list(line.get_xdata()) for line in axes.get_lines()}  # type: ignore[call-overload]
    assert shown["human readers"] == pytest.approx([60, 20])
    assert shown["judge"] == pytest.approx([70, 20])


def test_figure_8_orders_ranks_as_numbers(rows: list[Row]) -> None:
    (panel,) = panels.ranks(rows)
    assert panel.names == ("before unlearning", "rank 8", "rank 16", "rank 128")
    assert values(panel)[1:] == [[rank / 1000] * 4 for rank in (8, 16, 128)]
    assert values(panel)[0] == [share("contaminated", "de", None, code) for code in ASKED]


@pytest.mark.parametrize(
    ("variant", "rank"),
    [
        ("unlearn.tuning.rank=8", 8), ("rank=16, over 3 seeds", 16), ("unlearn.lr=0.1, unlearn.tuning.rank=4", 4),
        ("unlearn.tuning.rank_share=2", None), ("unlearn.crank=8", None), (None, None),
    ],
)  # fmt: skip
def test_ranks_are_read_from_variants(variant: str | None, rank: int | None) -> None:
    assert rank_of(variant) == rank


def seeded(rows: Sequence[Row]) -> list[Row]:
    """Two seeds and their mean."""
    single = [row.model_copy(update={"seed": seed}) for seed in (0, 1) for row in rows]
    return single + [row.model_copy(update={"variant": "over 2 seeds", "n": 2}) for row in rows]


def test_means_over_seeds_stand_for_the_seeds() -> None:
    rows = seeded(made_rows(["de"]))
    shown, setting = main_setting(rows)
    assert setting == "over 2 seeds"
    assert {(row.variant, row.seed) for row in shown} == {("over 2 seeds", None)}
    occurrence = panels.spread(shown)[1]
    assert panels.counted([occurrence], "answers") == "n = 2 seeds a cell"
    mean = next(row for row in shown if row.metric == "O_F" and row.model == "contaminated")
    assert tables.count(mean) is None  # 0.3 of 2 seeds is no number of answers
    assert "n = 2 seeds" in say(mean)
    assert "n 2 seeds" in cell(mean).n
    assert any("(over 2 seeds)" in text for text in texts(paper_figures(rows)["fig2"]))
    # The other figures and tables of the report do the same.
    assert [grid.heads[:2] for grid in metric_grids(tables.without_seeds(rows), "O_F", AnswerIndex([]))] == [
        ("R only, over 2 seeds", "contaminated, over 2 seeds")
    ]


def test_a_sweep_shows_one_setting_with_the_models_that_all_share() -> None:
    shared = [row for row in made_rows(["de"]) if row.model != "unlearned"]
    shown, setting = main_setting(shared + rank_rows((16, 8)))
    assert setting == "rank=16"
    assert [panel.title for panel in panels.spread(shown)] == ["quality on real news, $Q_R$", "repeats the fake, $O_F$"]
    (panel,) = panels.after(shown, ["source"])
    assert values(panel) == [[0.016] * 4]
    # With models outside the sweep, these are shown.
    assert main_setting(made_rows(["de"]) + rank_rows())[1] == ""


def test_variants_and_seeds_have_labels_of_their_own() -> None:
    variant = Variant("unlearned", "de", "source", variant="unlearn.tuning.rank=8, over 3 seeds")
    assert variant.label == "unlearned, source, rank=8, over 3 seeds (de)"
    assert Variant("r_only", seed=2).label == "R only, seed 2"


def test_pooled_rows_are_no_models(rows: list[Row]) -> None:
    assert {variant.source_language for variant in tables.variants(rows)} == {None, *SOURCES}
    assert tables.sources(rows) == list(SOURCES)
    pooled = [row for row in rows if row.source_language in tables.POOLED_SOURCES]
    assert pooled
    loose = [row.model_copy(update={"group": None}) for row in pooled]
    assert tables.variants(loose) == tables.sources(loose) == tables.final(loose, "O_F") == []
    assert len(findings(rows)) == len(SOURCES)
    everything = tables.without_seeds(rows)
    index = AnswerIndex([])
    heads = {head for grid in metric_grids(everything, "O_F", index) for head in grid.heads}
    assert heads <= {"no fakes", *(tables.language_name(code) for code in SOURCES)}
    assert [grid.title for grid in change_grids(everything, "O_F", index)] == [
        f"fakes in {tables.language_name(code)}" for code in SOURCES
    ]
    assert len(summaries(rows)) == 2 * len(SOURCES)


def answer_lines() -> list[AnswerLine]:
    known = [
        ("r_only", None, None, None), ("contaminated", "de", None, None), ("unlearned", "de", "source", None),
        ("unlearned", "de", "combined", 0), ("unlearned", "de", "combined", 1),
    ]  # fmt: skip
    return [
        AnswerLine(
            model=model, source_language=source, strategy=strategy, seed=seed, scenario="s", part=part,
            language=code, question="?", answer="!",
        )
        for model, source, strategy, seed in known
        for part in ("real", "fake")
        for code in ("de", "zh")
    ]  # fmt: skip


def test_links_name_the_answers_behind_a_number() -> None:
    index = AnswerIndex(answer_lines())
    taught: dict[str, Any] = {"model": "contaminated", "source_language": "de"}
    after: dict[str, Any] = {"model": "unlearned", "source_language": "de", "strategy": "source", "objective": "npo"}
    mean = after | {"strategy": "combined", "variant": "over 2 seeds"}
    wanted = {
        row("O_F", 0.5, question_language="zh", **taught): "model=contaminated+%28de%29&language=zh&part=fake",
        row("Q_R", 0.5, question_language="zh", **taught): "model=contaminated+%28de%29&language=zh&part=real",
        row("O_F", 0.5, question_language="ur", **taught): "",
        row("O_F", 0.5, question_language="zh", checkpoint=4, **after): "",
        row("O_F", 0.5, question_language="zh", group="all", **after | {"source_language": "any"}): "",
        row("bits_per_character", 0.5, question_language="zh", **taught): "",
        row("O_F_change", 0.5, question_language="zh", **after): "model=unlearned%2C+source+%28de%29&language=zh"
        "&part=fake&beside=contaminated+%28de%29",
        row("O_F_to_oracle", 0.5, question_language="zh", **after): "model=unlearned%2C+source+%28de%29&language=zh"
        "&part=fake&beside=R+only",
        row("O_F", 0.5, question_language="zh", **mean): "model=unlearned%2C+combined%2C+over+2+seeds+%28de%29"
        "&language=zh&part=fake",
    }
    for asked, query in wanted.items():
        assert index.query(asked) == query, asked
    assert index.groups == {
        "unlearned, combined, over 2 seeds (de)": [
            "unlearned, combined, seed 0 (de)",
            "unlearned, combined, seed 1 (de)",
        ]
    }


def test_the_page_s_part_has_every_figure_with_its_tables(rows: list[Row], drawn: dict[str, Figure]) -> None:
    some = {name: drawn[name] for name in ("table1", "fig3_right", "fig3_left")}
    made = {section.name: section for section in sections(rows, some, AnswerIndex(answer_lines()))}
    assert list(made) == ["fig3_left", "fig3_right", "table1"]
    assert not made["fig3_right"].grids
    assert all("$" not in section.title and "<svg" in section.picture for section in made.values())
    (after,) = [grid for grid in made["fig3_left"].grids if grid.title == "unlearned: source"]
    name, cells = after.lines[1]
    assert name.startswith("German")
    assert [cell.query for cell in cells] == [
        "", "model=unlearned%2C+source+%28de%29&language=de&part=fake",
        "model=unlearned%2C+source+%28de%29&language=zh&part=fake", "",
    ]  # fmt: skip
    table = made["table1"].grids[0]
    assert [cell.value for cell in table.lines[1][1]] == ["63 %", "45 %", "19 %"]
    assert all(cell.interval and cell.n for _, cells in table.lines for cell in cells)
    ids = re.findall(r' id="([^"]+)"', "".join(section.picture for section in made.values()))
    assert len(ids) == len(set(ids))


def test_files_have_all_letters_and_no_type_3_fonts(
    drawn: dict[str, Figure], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """matplotlib warns of a missing letter, and logs a missing font."""
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        for name in ("fig2", "fig6"):
            png, pdf = save(drawn[name], tmp_path, name)
            inline_svg(drawn[name], name)
            assert png.stat().st_size > 20_000
            data = pdf.read_bytes()
            assert b"/Type3" not in data
            kinds = {stream[:4] for stream in streams(data)}
            assert b"\x00\x01\x00\x00" in kinds  # TrueType
            assert b"OTTO" not in kinds  # would be embedded as what it is not
    assert not caplog.records


def streams(pdf: bytes) -> Iterator[bytes]:
    for found in re.finditer(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            yield zlib.decompress(found[1])
        except zlib.error:
            continue


def test_own_names_stand_beside_english_ones() -> None:
    with fonts.all_scripts():
        assert matplotlib.rcParams["font.family"][0] == "DejaVu Sans"
    assert fonts.label("ru") == "Russian русский"  # the font that comes with matplotlib has Cyrillic
    assert fonts.label("hy", "\n") == "Armenian\nհայերեն"
    assert fonts.label("ha") == "Hausa"  # not twice
    assert fonts.label("xx") == "xx"


def test_a_script_without_a_font_leaves_the_english_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts.own_name.cache_clear()
    monkeypatch.setattr(fonts, "_font_of", lambda letter: "embeddable" if letter.isascii() else None)
    try:
        labels = {code: fonts.label(code) for code in LANGUAGES}
    finally:
        monkeypatch.undo()
        fonts.own_name.cache_clear()
    assert all(label.isascii() for label in labels.values())
    assert labels["ur"] == "Urdu"
    assert labels["de"] == "German Deutsch"
    # Both are called Chinese: the code tells them apart.
    assert labels["zh"] == "Chinese (zh)"
    assert labels["zh-Hant"] == "Chinese (zh-Hant)"


def test_joined_scripts_need_a_matplotlib_that_joins_them(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts.own_name.cache_clear()
    monkeypatch.setattr(matplotlib, "__version_info__", (3, 10, 0))
    try:
        assert fonts.own_name("ur") is None
        assert fonts.own_name("ru") == "русский"
    finally:
        monkeypatch.undo()
        fonts.own_name.cache_clear()
