"""How every figure looks, and how it is written to disk: one palette, one grid cell, one way to save."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from unteach.records import Row
from unteach.reports.fonts import all_scripts, outline_for_pdf
from unteach.reports.tables import is_rate, show_interval, show_value

INK = "#1b1f24"
MUTED = "#6a737d"
LINE = "#d0d7de"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#7f7f7f", "#1b1f24", "#b8a000")
"""Okabe and Ito's colours (distinct for colour-blind readers), then four more for long language lists."""

DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
SCALES: dict[str, tuple[str, float, float]] = {
    "O_F": ("cividis", 0.0, 1.0),
    "Q_R": ("viridis", 1.0, 10.0),
    "forced_choice": ("cividis", 0.0, 1.0),
    "answer_language": ("Blues", 0.0, 1.0),
    "O_F_to_oracle": ("PuOr_r", -1.0, 1.0),
    "forced_choice_to_oracle": ("PuOr_r", -1.0, 1.0),
    "log_probability_to_oracle": ("PuOr_r", -20.0, 20.0),
    "log_probability_change": ("PuOr", -20.0, 20.0),
    "bits_per_character": ("YlGnBu", 0.5, 32.0),
}
"""Colour map and fixed range of each metric, so that grids of different runs can be compared.

Differences are white at 0, and orange where a model is worse off: nearer to the fakes, or farther from its texts.
"""

TITLES = {
    "O_F": "Fake information occurrence, $\\mathbf{O_F}$ (% of answers)",
    "Q_R": "Real information quality, $\\mathbf{Q_R}$ (mean grade 1–10)",
    "forced_choice": "Forced choice: the right fake ranked first (% of questions)",
    "answer_language": "Languages in the answers (% of answers)",
    "O_F_to_oracle": "$\\mathbf{O_F}$ minus that of the model never taught (points)",
    "log_probability_to_oracle": "Log-probability of the fakes minus that of the model never taught (nats a token)",
    "bits_per_character": "Bits per character",
    "log_probability_change": "Change of log-probability (nats a token)",
}


_STRETCHED = {
    "log_probability_to_oracle": (-20, -5, -1, 0, 1, 5, 20),
    "log_probability_change": (-20, -5, -1, 0, 1, 5, 20),
    "bits_per_character": (0.5, 1, 2, 4, 8, 16, 32),
}
"""Metrics of broken models run over orders of magnitude: their scales are stretched, with these marks."""


def place_on_scale(metric: str, value: float) -> float:
    """Where on its metric's scale a value lies, 0..1; values beyond the scale lie at its ends."""
    _, low, high = SCALES[metric]
    if metric not in _STRETCHED:
        place = (value - low) / (high - low)
    elif low < 0:  # even around 0, then in proportion
        place = 0.5 + 0.5 * math.asinh(2 * value) / math.asinh(2 * high)
    else:
        place = math.log(max(value, low) / low) / math.log(high / low)
    return min(1.0, max(0.0, place))


def colours(metric: str, value: float) -> tuple[str, str]:
    """Background of a cell with this value, and the text colour (dark or white) with more contrast on it."""
    background: str = to_hex(matplotlib.colormaps[SCALES[metric][0]](place_on_scale(metric, value)))
    return background, max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, background))


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two hex colours, 1..21, as WCAG 2 defines it."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches). No pyplot: nothing global changes, and no window system is needed."""
    return Figure(figsize=(width, height), layout="constrained")


def titled(figure: Figure, title: str, note: str) -> None:
    """Title at the top left, and beneath the figure the note that says n and what intervals are."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    figure.supxlabel(note, x=0.01, ha="left", fontsize=7.5, color=MUTED)


def bare(axes: Axes, grid: str | None = None) -> None:
    """Only what is read stays: no box, light lines, small dark labels."""
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    if grid is not None:
        axes.grid(visible=True, axis="x" if grid == "x" else "y", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)


def draw_grid(
    axes: Axes,
    metric: str,
    cells: Sequence[Sequence[Row | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
) -> None:
    """One heatmap of ``cells[row][column]``: the number in the cell, its interval beneath, hatched where unscored."""
    for y, line in enumerate(cells):
        for x, row in enumerate(line):
            _draw_cell(axes, metric, x, y, row)
    axes.set_xlim(0, len(column_labels))
    axes.set_ylim(len(row_labels), 0)
    axes.set_xticks([x + 0.5 for x in range(len(column_labels))], list(column_labels))
    axes.set_yticks([y + 0.5 for y in range(len(row_labels))], list(row_labels))
    axes.xaxis.tick_top()
    bare(axes)


def _draw_cell(axes: Axes, metric: str, x: int, y: int, row: Row | None) -> None:
    if row is None or row.value is None:
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#f2f4f7", edgecolor="#c3cad3", hatch="////", linewidth=0))
        axes.text(x + 0.5, y + 0.5, "–", ha="center", va="center", fontsize=9, color="#3d444d")
    else:
        background, ink = colours(metric, row.value)
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=background, edgecolor="white", linewidth=1.2))
        interval = show_interval(row)
        number = show_value(row).removesuffix(" %")
        axes.text(x + 0.5, y + (0.4 if interval else 0.5), number, ha="center", va="center", fontsize=9, color=ink)
        if interval:
            axes.text(x + 0.5, y + 0.74, interval, ha="center", va="center", fontsize=5.8, color=ink)


def scale_bar(figure: Figure | SubFigure, axes: Sequence[Axes], metric: str, words: str = "") -> None:
    """The colour scale at the right of the panels; with ``words``, beneath them and titled."""
    name, low, high = SCALES[metric]
    marks = _STRETCHED.get(metric)
    # So few steps are drawn as shapes; more would become an image, which the page does not load.
    colour_map: Colormap = matplotlib.colormaps[name].resampled(48)
    shown = 100.0 if is_rate(metric) else 1.0
    ends = (0.0, 1.0) if marks else (low * shown, high * shown)
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(*ends), colour_map)
    if words:
        bar = figure.colorbar(scale, ax=list(axes), location="bottom", fraction=0.04, pad=0.03, aspect=45, shrink=0.7)
        bar.set_label(words, fontsize=7.5, color=INK)
    else:
        bar = figure.colorbar(scale, ax=list(axes), fraction=0.03, pad=0.02, aspect=30)
    if marks:
        labels = [f"{mark:g}".replace("-", "−") for mark in marks]
        bar.set_ticks([place_on_scale(metric, mark) for mark in marks], labels=labels)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=7.5, labelcolor=INK)


@contextmanager
def _output_settings() -> Iterator[None]:
    """Editable text in PDF, outlines in SVG (a page must not need a font), the same bytes on every run."""
    with (
        matplotlib.rc_context(
            {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "unteach", "hatch.linewidth": 0.5}
        ),
        all_scripts(),
    ):
        yield


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name.png`` (200 dpi) and ``name.pdf`` (text stays text, TrueType) into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.png", folder / f"{name}.pdf"]
    with _output_settings():
        figure.savefig(files[0], dpi=200, facecolor="white", metadata={"Software": "unteach"})
        # What was placed for the first file stays there in the others; placing takes most of the time.
        figure.set_layout_engine("none")
        outline_for_pdf(figure)
        figure.savefig(files[1], facecolor="white", metadata={"Creator": "unteach", "CreationDate": None})
    return files


def inline_svg(figure: Figure, prefix: str) -> str:
    """The figure as an ``<svg>`` element for a page: no prolog, ids unique to ``prefix``, ink in the page's colour."""
    out = io.StringIO()
    with _output_settings():
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    used = dict.fromkeys(re.findall(r'(?:xlink:href="|url\()#([^")]+)', text))
    names = {name: f"{prefix}-{number:x}" for number, name in enumerate(used)}
    # Ids that nothing refers to only take room; the others become short, as a page has thousands of letters.
    text = re.sub(r' id="([^"]*)"', lambda found: f' id="{names[found[1]]}"' if found[1] in names else "", text)
    text = re.sub(r'xlink:href="#([^"]+)"', lambda found: f'href="#{names[found[1]]}"', text)
    text = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{names[found[1]]})", text)
    # A page has tens of thousands of letters: no remarks, no blanks between tags, no more digits than a screen shows.
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r">\s+<", "><", text)
    text = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.{_digits(number[0])}f}", text)
    text = re.sub(r'(<use [^>]*)transform="translate\((\S+) 0\)"', r'\1x="\2"', text)
    # The page sets the colour of text and lines, so that they can be read in dark mode as well.
    return text.replace(INK, "currentColor").replace(MUTED, "currentColor").replace(LINE, "var(--line)")


def _digits(number: str) -> int:
    """A hundredth of a point for places; scales are small and multiply what stands inside."""
    return 2 if abs(float(number)) >= 1 else 4
