"""The measures as titled tables: what the terminal, Markdown and HTML show alike."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from itertools import pairwise

from stvc.console import measured
from stvc.fidelity.bands import BandQuality
from stvc.fidelity.measure import Fidelity
from stvc.fidelity.phenology import Shift
from stvc.fidelity.texture import EDGES


@dataclass(frozen=True)
class Table:
    """Text cells under column names."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    remark: str = ""
    """How to read it."""


def tables(found: Fidelity) -> list[Table]:
    """Lay all measures out."""
    made = [_verdicts(found), _bands(found), _indices(found)]
    made += [_phenology(found), _uses(found), _spectra(found)]
    return [table for table in made if table.rows]


def headline(found: Fidelity) -> str:
    """One line: how much was compared, how near it is."""
    many = f"{found.dates} date{'' if found.dates == 1 else 's'}"
    span = found.first if found.dates == 1 else f"{found.first} to {found.last}"
    exact = all(row.clear.max_error == 0 and row.clear.samples for row in found.bands)
    near = "exact" if exact else measured(found.psnr_clear, ".2f", "dB PSNR")
    return f"{many}, {span}; {found.clear_share:.0%} clear; {near} on clear pixels"


def _verdicts(found: Fidelity) -> Table:
    rows: list[tuple[str, ...]] = []
    for verdict in found.verdicts:
        why = verdict.why_not or "; ".join(
            f"{r.measure} {r.value:.3g} (fit: {r.fit})" for r in verdict.reasons
        )
        rows.append((verdict.use, verdict.level.value, why))
    return Table("Fit for use", ("use", "verdict", "because"), rows)


def _bands(found: Fidelity) -> Table:
    def cells(row: BandQuality) -> tuple[str, ...]:
        return (
            row.band,
            f"{row.gsd:g}",
            measured(row.clear.rmse, ".1f"),
            measured(row.clear.psnr, ".2f"),
            str(row.clear.max_error) if row.clear.samples else "n/a",
            measured(row.clear.bias, "+.2f"),
            measured(row.ssim, ".4f"),
            measured(row.all.rmse, ".1f"),
            measured(row.all.psnr, ".2f"),
            str(row.all.max_error),
            measured(row.all.bias, "+.2f"),
        )

    angle = ". ".join(
        f"Spectral angle of {' '.join(a.bands)}: {measured(a.clear, '.3f', 'degrees')} on clear "
        f"pixels, {measured(a.all, '.3f', 'degrees')} on all"
        for a in found.angles
    )
    hidden = (
        "All pixels include ground that the mask hides, which an archive may leave out on purpose "
        "(--clouds drop). "
        if found.has_mask
        else "Without a mask, every pixel with a value is clear. "
    )
    return Table(
        "Errors per band (DN)",
        (
            "band",
            "m",
            "RMSE",
            "PSNR dB",
            "max",
            "bias",
            "SSIM",
            "RMSE all",
            "PSNR all",
            "max all",
            "bias all",
        ),
        [cells(row) for row in found.bands],
        f"{hidden}Bias is decoded less original. {angle}".strip(),
    )


def _indices(found: Fidelity) -> Table:
    return Table(
        "Index errors on clear pixels",
        ("index", "bands", "mean", "RMSE", "bias", "95 % below"),
        [
            (
                row.name,
                " ".join(row.bands),
                f"{row.mae:.4f}",
                f"{row.rmse:.4f}",
                f"{row.bias:+.4f}",
                f"{row.p95:.4f}",
            )
            for row in found.indices
        ],
    )


def _phenology(found: Fidelity) -> Table:
    seasons = found.phenology
    if isinstance(seasons, str):
        return Table("Phenology", (), [])

    def cells(name: str, shift: Shift, form: str) -> tuple[str, ...]:
        return (name, f"{shift.median:{form}}", f"{shift.p90:{form}}", f"{shift.bias:+{form}}")

    return Table(
        "Phenology",
        ("of each pixel's season", "median", "90 % below", "bias"),
        [
            cells("start, days", seasons.start, ".2f"),
            cells("peak, days", seasons.peak_date, ".2f"),
            cells("end, days", seasons.end, ".2f"),
            cells("peak height, NDVI", seasons.peak_height, ".4f"),
        ],
        f"{seasons.seasons} seasons of pixels, years: {seasons.years}; "
        f"{seasons.lost:.2%} of the original's seasons are not found in the decoded series.",
    )


def _uses(found: Fidelity) -> Table:
    rows: list[tuple[str, ...]] = []
    change, classes = found.change, found.classification
    if not isinstance(change, str):
        rows += [
            ("changed pixels, original", f"{change.changed_original:.2%}"),
            ("changed pixels, decoded", f"{change.changed_decoded:.2%}"),
            ("agreement of the two maps", f"{change.agreement:.2%}, F1 {change.f1:.4f}"),
            ("same date of the change", measured(change.same_date, ".2%")),
        ]
    if not isinstance(classes, str):
        rows += [
            ("classes", f"{classes.classes}, {classes.labels}"),
            ("trained and tested on", f"{classes.trained} and {classes.tested} pixels, apart"),
            (
                "agreement of predictions",
                f"{classes.agreement:.2%}, kappa {classes.kappa:.4f}",
            ),
            (
                "accuracy, original and decoded",
                f"{classes.accuracy_original:.2%} and {classes.accuracy_decoded:.2%}",
            ),
        ]
    return Table("Change and classification", ("measure", "value"), rows)


def _spectra(found: Fidelity) -> Table:
    if isinstance(found.spectra, str):
        return Table("Power spectrum", (), [])
    spans = [f"{a:g}-{b:g}" for a, b in pairwise(EDGES)]
    return Table(
        "Power kept, by spatial frequency",
        ("band", *spans, "clear patches"),
        [
            (
                row.band,
                *(measured(r, ".3f") for r in row.ratio),
                f"{row.patches} of {row.side} x {row.side}",
            )
            for row in found.spectra
        ],
        "Decoded power over the original's, by cycles per pixel; 1 is kept, less is smoothed, "
        "more is noise added.",
    )


def to_text(found: Fidelity, title: str) -> str:
    """Lay out for a terminal."""
    lines = [title, headline(found)]
    lines += [f"note: {note}" for note in found.notes]
    for table in tables(found):
        lines += ["", table.title]
        # the last column of sentences is not padded: it would only wrap
        cells = [table.columns, *table.rows]
        widths = [max(len(row[k]) for row in cells) for k in range(len(table.columns))]
        words = table.title == "Fit for use" or len(table.columns) == 2
        for row in cells:
            padded = [
                cell.ljust(width) if words or k == 0 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  " + "  ".join(padded).rstrip())
        lines += textwrap.wrap(table.remark, 96, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def to_markdown(found: Fidelity, title: str) -> str:
    """Lay out as a Markdown document."""

    def escaped(cell: str) -> str:
        return "".join("\\" + c if c in "\\|`*_<>[]" else c for c in " ".join(cell.split()))

    lines = [f"# {escaped(title)}", "", f"{escaped(headline(found))}."]
    if found.notes:
        lines += ["", *(f"- {escaped(note)}" for note in found.notes)]
    for table in tables(found):
        lines += ["", f"## {table.title}", ""]
        lines.append("| " + " | ".join(escaped(c) for c in table.columns) + " |")
        lines.append("|" + "---|" * len(table.columns))
        lines += ["| " + " | ".join(escaped(c) for c in row) + " |" for row in table.rows]
        if table.remark:
            lines += ["", escaped(table.remark)]
    return "\n".join(lines) + "\n"
