"""One picture that tells how an archive looks beside its original, and where its bytes went."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.bands import named_like
from stvc.comparison import MIN_CLEAR, Comparison, compare
from stvc.console import byte_size, day, measured

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

F32 = npt.NDArray[np.float32]

_INK, _GREY, _LIGHT, _ACCENT = "#1a1a1a", "#8a8a8a", "#e3e3e3", "#c8501e"


def draw(original: xr.Dataset, decoded: xr.Dataset, info: Mapping[str, Any], path: Path) -> Path:
    """Draw original, decoded and error of two dates, bytes per date, and the NDVI curves.

    Parameters
    ----------
    original, decoded : xarray.Dataset
        What was encoded, and what ``Archive.to_xarray()`` returns.
    info : mapping
        What ``Archive.info()`` returns.
    path : Path
        The picture to write; its suffix decides the format.

    Returns
    -------
    Path
        `path`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    pair = compare(original, decoded)
    layout = ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.05, hspace=0.02)
    figure = Figure(figsize=(12.5, 12.6), dpi=120, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(_headline(info), fontsize=14, fontweight="bold", color=_INK)
    halves: Any = figure.subfigures(2, 1, height_ratios=[0.95, 1.0])
    _draw_maps(halves[0], pair)
    _draw_curves(halves[1], pair, info)
    figure.savefig(path)
    return path


def _headline(info: Mapping[str, Any]) -> str:
    name = Path(str(info["path"])).stem
    ndvi = info["ndvi_mae_clear"]
    return (
        f"{name}: {info['frames']} dates, {day(info['first_date'])} to {day(info['last_date'])}\n"
        f"{byte_size(info['raw_bytes'])} in {byte_size(info['bytes'])} "
        f"({info['ratio']:.0f}:1, {info['bits_per_sample']:.2f} bits per sample), "
        f"{'exact' if info['rmse_clear'] == 0 else measured(info['psnr_clear'], '.1f', 'dB PSNR')}"
        f"{'' if ndvi is None else f', NDVI error {ndvi:.4f}'} on clear pixels"
    )


def _draw_maps(figure: Any, pair: Comparison) -> None:
    from matplotlib.colors import ListedColormap

    axes = figure.subplots(2, 4)
    clearest, clouded = _telling_frames(pair)
    errors = [pair.error(frame) for frame in (clearest, clouded)]
    shown = [error[np.isfinite(error)] for error in errors]
    top = max([1.0, *(float(np.percentile(error, 99.5)) for error in shown if error.size)])
    for row, (frame, error) in enumerate(zip((clearest, clouded), errors, strict=True)):
        when = str(pair.times[frame].astype("datetime64[D]"))
        share = float(pair.clear_share[frame])
        stretch = _stretch(pair, frame)  # one for the original and its copy
        _map(axes[row, 0], stretch(pair.original[frame]), f"original, {when}")
        _map(axes[row, 1], stretch(pair.decoded[frame]), f"decoded, {share:.0%} clear")
        seen = error[np.isfinite(error)]
        level = f"RMS {float(np.sqrt(np.mean(seen**2))):.0f} DN" if seen.size else "all hidden"
        axes[row, 2].set_facecolor(_LIGHT)
        drawn = _map(axes[row, 2], error, f"error, {level}", cmap="magma", vmin=0, vmax=top)
        figure.colorbar(drawn, ax=axes[row, 2], shrink=0.8, label="DN; grey: hidden")
    often = pair.clear.mean(axis=0)
    drawn = _map(axes[0, 3], often, "how often a pixel is coded", cmap="viridis")
    figure.colorbar(drawn, ax=axes[0, 3], shrink=0.8, label="clear share of all dates")
    two = ListedColormap([_LIGHT, "#2f7d5b"])
    drawn = _map(axes[1, 3], pair.clear[clouded], "importance", cmap=two, vmin=0, vmax=1)
    bar = figure.colorbar(drawn, ax=axes[1, 3], shrink=0.8, ticks=[0.25, 0.75])
    bar.ax.set_yticklabels(["hidden", "clear"], rotation=90, va="center")


def _telling_frames(pair: Comparison) -> tuple[int, int]:
    """Choose the clearest date with most contrast, and a half clouded one with bright clouds."""
    share = pair.clear_share
    clearest = np.flatnonzero(share >= share.max() - 0.005)
    contrast = [float(pair.original[frame].std()) for frame in clearest]
    halfway = np.flatnonzero(np.abs(share - 0.5) <= max(0.2, np.abs(share - 0.5).min()))
    glare = []
    for frame in halfway:
        hidden_ground = ~pair.clear[frame]
        brightness = pair.original[frame].mean(axis=0)
        glare.append(float(brightness[hidden_ground].mean()) if hidden_ground.any() else 0.0)
    return int(clearest[int(np.argmax(contrast))]), int(halfway[int(np.argmax(glare))])


def _stretch(pair: Comparison, frame: int) -> Any:
    """Return a function from (C, H, W) DN to displayable pixels, stretched for clear ground."""
    named = [named_like(color, pair.bands) for color in ("red", "green", "blue")]
    channels = [pair.bands.index(name) for name in named if name is not None]
    if len(channels) < 3:
        channels = [0]
    ground = pair.original[frame][channels]
    if pair.clear[frame].any():
        ground = ground[:, pair.clear[frame]]
    low, high = np.percentile(ground.reshape(len(channels), -1), (1, 99.5), axis=1)
    span = np.maximum(high - low, 1.0)

    def show(pixels: npt.NDArray[np.uint16]) -> F32:
        scaled = (pixels[channels].transpose(1, 2, 0) - low) / span
        lit: F32 = np.clip(scaled, 0, 1).astype(np.float32) ** np.float32(0.8)
        return lit if len(channels) == 3 else np.repeat(lit, 3, axis=2)

    return show


def _map(axes: Axes, pixels: Any, title: str, **style: Any) -> Any:
    drawn = axes.imshow(pixels, interpolation="nearest", **style)
    axes.set_title(title, fontsize=10, color=_INK)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(_GREY)
        spine.set_linewidth(0.6)
    return drawn


def _draw_curves(figure: Any, pair: Comparison, info: Mapping[str, Any]) -> None:
    size, curve, difference = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": [1.0, 1.25, 0.5]}
    )
    _draw_bytes(figure, size, info)
    before, what = pair.index_curve(pair.original)
    after, _ = pair.index_curve(pair.decoded)
    seen = np.isfinite(before)
    times = pair.times.astype("datetime64[s]").astype("O")
    curve.plot(times[seen], before[seen], color=_GREY, lw=0.8, zorder=1)
    curve.plot(
        times[seen],
        before[seen],
        "o",
        ms=6.5,
        mfc="white",
        mec=_INK,
        mew=1.0,
        label="original",
        zorder=2,
    )
    curve.plot(times[seen], after[seen], "o", ms=3, color=_ACCENT, label="decoded", zorder=3)
    curve.plot(
        times[~seen],
        np.full((~seen).sum(), 0.02),
        "|",
        ms=7,
        color=_GREY,
        transform=curve.get_xaxis_transform(),
        label=f"under {MIN_CLEAR:.0%} clear",
    )
    curve.set_ylabel(f"mean {what}\nof clear pixels")
    curve.legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=3, frameon=False, fontsize=9)
    gap = after - before
    difference.axhline(0, color=_GREY, lw=0.8)
    difference.vlines(times[seen], 0, gap[seen], color=_ACCENT, lw=1.6)
    reach = float(np.nanmax(np.abs(gap))) if seen.any() else 0.0
    difference.set_ylim(-1.3 * max(reach, 1e-6), 1.3 * max(reach, 1e-6))
    difference.set_ylabel("decoded\n− original")
    for axes in (size, curve, difference):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=_LIGHT, lw=0.7)
        axes.set_axisbelow(True)
    figure.align_ylabels()


def _draw_bytes(figure: Any, axes: Axes, info: Mapping[str, Any]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap

    frames = info["dates"]
    times = np.array([frame["time"].removesuffix("Z") for frame in frames], "datetime64[s]")
    spacing = np.diff(times).astype(float) / 86400 if len(times) > 1 else np.array([10.0])
    width = float(np.clip(np.median(spacing) * 0.8, 0.5, 8))
    shades = LinearSegmentedColormap.from_list("clear", ["#c9c9c9", "#2f7d5b"])
    share = [1.0 if frame["clear_share"] is None else frame["clear_share"] for frame in frames]
    axes.bar(
        times.astype("O"),
        [frame["bytes"] / 1000 for frame in frames],
        width=width,
        color=[shades(value) for value in share],
    )
    axes.set_ylabel("kB per date")
    kinds = ", ".join(f"{kind} {byte_size(n)}" for kind, n in info["bytes_by_kind"].items() if n)
    axes.set_title(f"where the bytes went: {kinds}", fontsize=10, color=_INK, loc="left")
    bar = figure.colorbar(ScalarMappable(cmap=shades), ax=axes, pad=0.01, aspect=12)
    bar.set_label("clear share")
