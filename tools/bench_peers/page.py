"""The tables of the documentation's benchmark page, side by side for several cubes."""

from __future__ import annotations

from collections.abc import Sequence

from bench_peers.measure import Row
from bench_peers.report import curve, lines, number, per_cpu
from stvc.metrics import RdCurve, bd_rate

Found = Sequence[tuple[str, Sequence[Row]]]
"""Title of a cube and its rows."""
_PSNRS = (45.0, 50.0)


def _by_codec(rows: Sequence[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["codec"], []).append(row)
    return grouped


def _names(found: Found) -> list[str]:
    return list(dict.fromkeys(row["codec"] for _, rows in found for row in rows))


def _remarks(found: Found) -> str:
    """Model ids and notes, one line each."""
    rows = [row for _, rows in found for row in rows]
    models = sorted({row["model"] for row in rows if row.get("model")})
    notes = {row["codec"]: row["note"] for row in rows if row.get("note")}
    told = [f"- stvc with its model `{model}`." for model in models]
    return "\n".join(told + [f"- `{codec}`: {note}." for codec, note in notes.items()])


def _bd(anchor: RdCurve | None, test: RdCurve | None) -> str:
    value = None if anchor is None or test is None else bd_rate(anchor, test)
    return "-" if value is None else f"{value:+.1f} %"


def _two(fit: RdCurve | None) -> str:
    if fit is None:
        return "-"
    return " / ".join(number(fit.rate_at(psnr), 3) for psnr in _PSNRS)


def rates_table(found: Found) -> str:
    """Bits per sample at 45 / 50 dB and BD-rate of stvc against each codec, per cube."""
    header = ["codec", "dates"]
    for title, _ in found:
        header += [f"{title}: bits at 45 / 50 dB", "stvc against it, BD-rate", "reaches"]
    table = [header]
    for name in _names(found):
        modes = {row["mode"] for _, rows in found for row in rows if row["codec"] == name}
        cells = [f"`{name}`", {"series": "all at once"}.get(modes.pop(), "append")]
        for _, rows in found:
            groups = _by_codec(rows)
            fit = curve(groups.get(name, []))
            best = "-" if fit is None else f"{fit.span[1]:.1f} dB"
            cells += [_two(fit), _bd(fit, curve(groups.get("stvc", []))), best]
        table.append(cells)
    return f"{lines(table)}\n\n{_remarks(found)}"


def references_table(found: Found) -> str:
    """Bits per sample of the same model with its references switched on and off."""
    header = ["predicted from"]
    for title, _ in found:
        header += [f"{title}: bits at 45 / 50 dB", "against none"]
    table = [header]
    for name in _names(found):
        cells = [name.removeprefix("stvc-")]
        for _, rows in found:
            groups = _by_codec(rows)
            fit, none = curve(groups.get(name, [])), curve(groups.get("stvc-none", []))
            cells += [_two(fit), _saved(fit, none)]
        table.append(cells)
    return f"{lines(table)}\n\n{_remarks(found)}"


def _saved(fit: RdCurve | None, anchor: RdCurve | None) -> str:
    if fit is None or anchor is None:
        return "-"
    told = []
    for psnr in _PSNRS:
        rate, base = fit.rate_at(psnr), anchor.rate_at(psnr)
        told.append("-" if rate is None or base is None else f"{100 * (rate / base - 1):+.1f} %")
    return " / ".join(told)


def clouds_table(found: Found) -> str:
    """What hidden ground costs: modes of stvc at a clear PSNR, then peers at that of all pixels."""
    blocks = []
    for title, rows in found:
        groups = _by_codec(rows)
        table = [["stvc", "asked", "bits", "PSNR, clear pixels", "PSNR, all pixels"]]
        for name in ("stvc", "stvc-coarse", "stvc-keep"):
            for row in sorted(groups.get(name, []), key=lambda row: row["parameter"]):
                mode = name.removeprefix("stvc").removeprefix("-") or "drop"
                psnrs = [f"{row[f'psnr_{which}']:.2f} dB" for which in ("clear", "all")]
                asked = f"{row['parameter']:g} dB"
                table.append([f"`--clouds {mode}`", asked, f"{row['bpppb']:.3f}", *psnrs])
        blocks.append(f"**{title}**\n\n{lines(table)}")
        kept = sorted(groups.get("stvc-keep", []), key=lambda row: row["parameter"])
        if not kept:
            continue
        header = [f"bits at {row['psnr_all']:.2f} dB on all pixels" for row in kept]
        table = [["all pixels alike", *header]]
        for name, points in groups.items():
            if name in ("stvc", "stvc-coarse"):
                continue
            fit = curve(points, "psnr_all")
            at = [None if fit is None else fit.rate_at(row["psnr_all"]) for row in kept]
            table.append([f"`{name}`", *(number(rate, 3) for rate in at)])
        blocks.append(lines(table))
    return "\n\n".join([*blocks, _remarks(found)])


def bounds_table(found: Found) -> str:
    """Bits per sample without loss and within bounds, and stvc against the best of the others."""
    blocks = []
    for title, rows in found:
        mine = [row for row in rows if row["codec"] == "stvc-bounded"]
        bounds = sorted({int(row["parameter"]) for row in mine})
        table = [[title, *("lossless" if bound == 0 else f"±{bound} DN" for bound in bounds)]]
        bits: dict[str, dict[int, float]] = {}
        for row in rows:
            if row["max_error_clear"] <= row["parameter"]:
                bits.setdefault(row["codec"], {})[int(row["parameter"])] = row["bpppb"]
        for name, of in bits.items():
            table.append([f"`{name}`", *(number(of.get(bound), 3) for bound in bounds)])
        ours = bits.get("stvc-bounded", {})
        against = ["stvc against the best other"]
        for bound in bounds:
            others = [of[bound] for name, of in bits.items() if name[:4] != "stvc" and bound in of]
            told = bound in ours and bool(others)
            against.append(f"{100 * (ours[bound] / min(others) - 1):+.1f} %" if told else "-")
        blocks.append(lines([*table, against]))
    return "\n\n".join([*blocks, _remarks(found)])


def speed_table(found: Found) -> str:
    """MB of uint16 per second near 50 dB, and ratios to x265 in CPU seconds."""
    header = ["codec"]
    for title, _ in found:
        header += [f"{title}: encode, decode MB/s", "per CPU second", "against x265 series, intra"]
    table = [header]
    for name in _names(found):
        cells = [f"`{name}`"]
        for _, rows in found:
            near = {
                codec: min(points, key=lambda row: abs((row["psnr_clear"] or 99) - 50))
                for codec, points in _by_codec(rows).items()
            }
            cells += _speeds(near, name)
        table.append(cells)
    return (
        f"{lines(table)}\n\nRatios are of CPU seconds, encode and decode, to `x265-klt-fill` and "
        f"`x265-klt-intra-inpaint`.\n\n{_remarks(found)}"
    )


def _speeds(near: dict[str, Row], name: str) -> list[str]:
    if name not in near:
        return ["-", "-", "-"]
    row, sides = near[name], ("encode", "decode")
    wall = ", ".join(f"{row['raw_bytes'] / 1e6 / row[side + '_s']:.3g}" for side in sides)
    cpu = ", ".join(f"{per_cpu(row, side):.3g}" for side in sides)
    ratios = []
    for rival in ("x265-klt-fill", "x265-klt-intra-inpaint"):
        other = near.get(rival)
        both = [f"{per_cpu(row, s) / per_cpu(other, s):.2f}" if other else "-" for s in sides]
        ratios.append(" ".join(both))
    return [wall, cpu, ", ".join(ratios)]
