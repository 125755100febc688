"""One page for all studies: what the paper has, what we have, and what to make of it; Markdown and HTML."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import pandas as pd

from experiments.paper.claims import Claim, Finding, Row
from experiments.paper.study import Scope, Study, StudyResult

HEADINGS: Final = ("what", "paper", "ours", "verdict", "why")

_STATED: Final = {
    "text": "stated in the text",
    "table": "from a table",
    "bars": "read off bars",
    "derived": "derived from its values",
}


@dataclass(frozen=True, slots=True)
class Chapter:
    """A study with its result, or the reason why it could not be run."""

    study: Study
    result: StudyResult | None
    reason: str = ""


def claims_table(chapters: Sequence[Chapter]) -> pd.DataFrame:
    """Return every row of every study, with the numbers unrounded."""
    return pd.DataFrame([_record(chapter.study, row) for chapter, row in _rows(chapters)])


def markdown(chapters: Sequence[Chapter], scope: Scope) -> str:
    """Return the page as Markdown; pictures lie beside it."""
    lines = ["# The paper, regenerated", "", *_preface(chapters, scope), ""]
    for chapter in chapters:
        study, result = chapter.study, chapter.result
        lines += [f"## {study.title}", "", f"*{study.source}.* {study.setup}", ""]
        if result is None:
            lines += [f"Not run: {chapter.reason}", ""]
            continue
        if result.rows:
            lines += ["| " + " | ".join(HEADINGS) + " |", "|---|---:|---:|---|---|"]
            lines += ["| " + " | ".join(_escaped(cell) for cell in _cells(row)) + " |" for row in result.rows]
            lines += [""]
        lines += [f"{remark}\n" for remark in result.remarks]
        lines += [
            f"![{study.title}]({study.name}.png)",
            "",
            f"All numbers: [{study.name}.csv]({study.name}.csv)",
            "",
        ]
    return "\n".join(lines)


def html_page(chapters: Sequence[Chapter], scope: Scope, folder: Path) -> str:
    """Return the page as HTML that needs no other file; pictures are read from `folder`."""
    style = (files("experiments.paper") / "page.css").read_text(encoding="utf-8")
    body = [
        "<h1>The paper, regenerated</h1>",
        *(f"<p>{_text(line)}</p>" for line in _preface(chapters, scope) if line),
    ]
    body += ["<nav><ul>", *(_entry(chapter) for chapter in chapters), "</ul></nav>"]
    for chapter in chapters:
        body += _section(chapter, folder)
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>The paper, regenerated</title><style>{style}</style></head><body><main>",
            *body,
            "</main></body></html>",
            "",
        ]
    )


def paper_value(claim: Claim) -> str:
    """Return what the paper gives, as people write it."""
    if claim.bounds is None:
        return f"{claim.direction} {number(claim.neutral or 0.0)}"
    low, high = claim.bounds
    value = number(low) if low == high else f"{number(low)} to {number(high)}"
    unit = "" if claim.unit == "ratio" else f" {claim.unit}"
    return f"{value}{unit}{' (bars)' if claim.stated == 'bars' else ''}"


def our_value(claim: Claim, finding: Finding) -> str:
    """Return our mean with its interval."""
    unit = "" if claim.unit == "ratio" else f" {claim.unit}"
    if finding.interval is None:
        return f"{number(finding.mean)}{unit}"
    low, high = finding.interval
    return f"{number(finding.mean)}{unit} [{number(low)}, {number(high)}]"


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if value == 0.0:
        return "0"
    if abs(value) >= 100.0:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _preface(chapters: Sequence[Chapter], scope: Scope) -> list[str]:
    """Say what was compared, and how it came out."""
    verdicts = Counter(row.verdict for _, row in _rows(chapters))
    counted = ", ".join(f"{verdicts[name]} {name}" for name in ("agrees", "same direction", "disagrees"))
    seeds = f"{len(scope.seeds)} seeds ({scope.seeds[0]} to {scope.seeds[-1]})"
    compared = (
        "Each table and figure of the evaluation of Dilu (Lv et al., ASPLOS 2025, arXiv 2503.05130) beside "
        f"what our simulator finds. Of {sum(verdicts.values())} values: {counted}."
    )
    how = (
        f"Ours is the mean over {seeds}, in brackets its 95 % interval (Student's t); without brackets "
        "nothing is random. *agrees*: within the tolerance of the claim (10 % unless claims.csv says "
        "otherwise); *same direction*: the effect is there, its size differs. No constant was tuned to hit a "
        "number of the paper; what is fitted says so where it stands."
    )
    return [compared, "", how]


def _rows(chapters: Sequence[Chapter]) -> Iterator[tuple[Chapter, Row]]:
    for chapter in chapters:
        if chapter.result is not None:
            yield from ((chapter, row) for row in chapter.result.rows)


def _record(study: Study, row: Row) -> dict[str, object]:
    claim, finding = row.claim, row.finding
    low, high = claim.bounds or (None, None)
    ours_low, ours_high = finding.interval or (None, None)
    return {
        "study": study.name,
        "what": claim.what,
        "where": claim.where,
        "unit": claim.unit,
        "stated": _STATED[claim.stated],
        "paper_low": low,
        "paper_high": high,
        "ours": finding.mean,
        "ours_low": ours_low,
        "ours_high": ours_high,
        "seeds": len(finding.values),
        "tolerance": claim.tolerance,
        "margin": claim.margin,
        "verdict": row.verdict,
        "why": row.why,
    }


def _cells(row: Row) -> tuple[str, ...]:
    return row.claim.what, paper_value(row.claim), our_value(row.claim, row.finding), row.verdict, row.why


def _entry(chapter: Chapter) -> str:
    verdicts = Counter(row.verdict for _, row in _rows([chapter]))
    counted = ", ".join(f"{count} {name}" for name, count in sorted(verdicts.items())) or chapter.reason
    return f'<li><a href="#{chapter.study.name}">{_text(chapter.study.title)}</a>: {_text(counted)}</li>'


def _section(chapter: Chapter, folder: Path) -> Iterator[str]:
    study, result = chapter.study, chapter.result
    yield f'<section id="{study.name}"><h2>{_text(study.title)}</h2>'
    yield f"<p><em>{_text(study.source)}.</em> {_text(study.setup)}</p>"
    if result is None:
        yield f"<p>Not run: {_text(chapter.reason)}</p></section>"
        return
    if result.rows:
        yield "<div class=scroll><table><thead><tr>"
        yield from (f"<th>{heading}</th>" for heading in HEADINGS)
        yield "</tr></thead><tbody>"
        for row in result.rows:
            kind = row.verdict.replace(" ", "-")
            cells = "".join(f"<td>{_text(cell)}</td>" for cell in _cells(row))
            yield f'<tr class="{kind}">{cells}</tr>'
        yield "</tbody></table></div>"
    yield from (f"<p>{_text(remark)}</p>" for remark in result.remarks)
    picture = base64.b64encode((folder / f"{study.name}.png").read_bytes()).decode("ascii")
    yield f'<img alt="{_text(study.title)}" src="data:image/png;base64,{picture}"></section>'


def _text(text: str) -> str:
    """Return text for HTML, with *emphasis* kept."""
    parts = html.escape(text).split("*")
    if len(parts) % 2 == 0:
        return "*".join(parts)
    return "".join(f"<em>{part}</em>" if index % 2 else part for index, part in enumerate(parts))


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
