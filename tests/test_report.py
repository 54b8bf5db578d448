"""``stvc report``: what the page holds, what it never lets through, and how large it may get."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr
from PIL import Image

import stvc
from stvc import cli
from stvc.archive import ArchiveReader, Kind
from stvc.dataset import series_from_dataset
from stvc.errors import CorruptInputError
from stvc.exit_codes import ExitCode
from stvc.report.maps import coarser, map_factor
from stvc.report.page import write_report
from stvc.report.spent import TracedArchive, spread
from stvc.types import GroupGrid

HOSTILE = '</script><script>document.title="broken"</script><img src=x onerror=alert(1)>'


def place(dates: int = 5, **more: Any) -> xr.Dataset:
    groups = {"": scenes.TEN, "20": ("B8A", "B11")}
    ds = scenes.dataset(dates, (40, 48), **{"groups": groups, "mask": "SCL", "crs": True, **more})
    ds["product_id"] = ("time", np.array([f"S2A_{k}" for k in range(dates)], object))
    return ds


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "field.stvc"
    stvc.encode(place(), path, psnr=48)
    return path


@pytest.fixture(scope="module")
def page(field: Path) -> str:
    out = field.with_name("whole.html")
    write_report(field, out, original=series_from_dataset(place()))
    return out.read_text("utf-8")


def payload_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="payload">(.*?)</script>', page, re.S)
    assert found
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


def pixels_of(text: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image.convert("RGB"))


# ---------------------------------------------------------------- the page


def test_layers_show_the_archive(page: str, field: Path) -> None:
    payload = payload_of(page)
    layers = {layer["id"]: layer for layer in payload["layers"]}
    assert list(layers) == [
        "true-color", "original", "false-color", "ndvi", "mask", "spent", "error"
    ]  # fmt: skip
    assert payload["shape"] == [40, 48]
    with stvc.open(field) as archive:
        ds, info = archive.to_xarray(), archive.info()
    assert all(len(layer["images"]) == 5 for layer in layers.values())
    for t in range(5):
        stored = pixels_of(layers["ndvi"]["images"][t])[..., 0].astype(float)
        red, nir = (ds[b].values[t].astype(float) for b in ("B04", "B08"))
        low, high = layers["ndvi"]["low"], layers["ndvi"]["high"]
        shown = low + (stored - 1) / 254 * (high - low)
        wanted = np.clip((nir - red) / (nir + red), low, high)
        np.testing.assert_allclose(shown, wanted, atol=0.5 * (high - low) / 254 + 1e-6)
        np.testing.assert_array_equal(
            pixels_of(layers["mask"]["images"][t])[..., 0], ds.SCL.values[t]
        )
        hidden = pixels_of(payload["veils"][t])[..., 0] == 255
        np.testing.assert_array_equal(hidden, np.isin(ds.SCL.values[t], (0, 1, 3, 8, 9, 10)))
        assert payload["dates"][t]["bytes"] == info["dates"][t]["bytes"]
    assert payload["dates"][2]["time"] == "2021-03-14T10:40:21"


def test_curve_and_error_are_those_of_the_pixels(page: str, field: Path) -> None:
    payload = payload_of(page)
    with stvc.open(field) as archive:
        ds = archive.to_xarray()
    before = place()
    clear = ~np.isin(ds.SCL.values, (0, 1, 3, 8, 9, 10))

    def ndvi(which: xr.Dataset, t: int) -> np.ndarray:
        red, nir = (which[b].values[t].astype(float) for b in ("B04", "B08"))
        return np.asarray(((nir - red) / (nir + red))[clear[t]])

    for t in range(5):
        values = ndvi(ds, t)
        curve = payload["curve"]
        assert curve["mean"][t] == pytest.approx(values.mean(), abs=2e-4)
        assert curve["low"][t] == pytest.approx(np.percentile(values, 10), abs=2e-4)
        assert curve["original"][t] == pytest.approx(ndvi(before, t).mean(), abs=2e-4)
    error = next(layer for layer in payload["layers"] if layer["id"] == "error")
    t, band_misses = 0, []
    for band in scenes.TEN:
        band_misses.append(ds[band].values[t].astype(float) - before[band].values[t])
    for band in ("B8A", "B11"):
        miss = ds[band].values[t].astype(float) - before[band].values[t]
        band_misses.append(miss.repeat(2, 0).repeat(2, 1))
    rms = np.sqrt(np.mean(np.square(band_misses), axis=0))
    shown = (pixels_of(error["images"][t])[..., 0].astype(float) - 1) / 254 * error["high"]
    np.testing.assert_allclose(
        shown[clear[t]], np.minimum(rms, error["high"])[clear[t]], atol=error["high"] / 254
    )
    hidden = ~clear[1]
    assert hidden.any()
    assert (pixels_of(error["images"][1])[hidden] == 0).all()


def test_tables_tell_quality_and_provenance(page: str) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for word in ("Fit for use", "Errors per band", "S2A_3", "product_id", "EPSG:32631", "832.8 nm"):
        assert word in text, word


def test_nothing_is_loaded_from_elsewhere_and_only_our_script_may_run(page: str) -> None:
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert not re.search(r"<(link|script|img|iframe)[^>]+(src|href)=[\"']?(?!data:)[^\"'#d]", page)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])  # type: ignore[index]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        assert body
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]+\s(style|on\w+)=", page.split("<script>")[0])


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    ds = place(2).rename(B03=HOSTILE.replace("/", "\\"))
    ds.attrs = {"title": HOSTILE, "aoi_name": HOSTILE, HOSTILE: HOSTILE, "aoi": HOSTILE}
    ds["product_id"] = ("time", np.array([HOSTILE, "'\"`--><!--"], object))
    ds[HOSTILE] = ("time", np.array([1, 2]))
    path = tmp_path / f"{HOSTILE.replace('/', '_')}.stvc"
    stvc.encode(ds, path)
    write_report(path, tmp_path / "x.html", original=series_from_dataset(ds))
    page = (tmp_path / "x.html").read_text("utf-8")
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    assert "onerror=alert" in html.unescape(page)  # it is there, as text
    assert payload_of(page)["outline"] == []


# ---------------------------------------------------------------- odd archives


@pytest.mark.parametrize(
    ("dates", "shape", "bands", "mask"),
    [
        (1, (1, 1), ("VV",), None),
        (2, (3, 90), ("B05", "B06", "B07"), "mask"),
        (3, (9, 9), ("B04", "B08"), "SCL"),
    ],
)
def test_small_and_odd_archives_have_a_page(
    dates: int, shape: tuple[int, int], bands: tuple[str, ...], mask: str | None, tmp_path: Path
) -> None:
    ds = scenes.dataset(dates, shape, groups={"": bands}, mask=mask)
    stvc.encode(ds, tmp_path / "x.stvc")
    told = write_report(tmp_path / "x.stvc", tmp_path / "x.html")
    assert told.dates == dates
    payload = payload_of((tmp_path / "x.html").read_text("utf-8"))
    ids = [layer["id"] for layer in payload["layers"]]
    assert "spent" in ids
    assert ("mask" in ids) == (mask is not None)
    assert ("ndvi" in ids) == ("B08" in bands)
    assert "error" not in ids
    assert payload["curve"]["name"] == ("NDVI" if "B08" in bands else f"{bands[0]} reflectance")


def test_dates_that_came_late_stand_where_they_belong(tmp_path: Path) -> None:
    ds = place(4)
    stvc.encode(ds.isel(time=[2, 3]), tmp_path / "x.stvc", lossless=True)
    stvc.append(ds.isel(time=[0, 1]), tmp_path / "x.stvc")
    write_report(tmp_path / "x.stvc", tmp_path / "x.html", original=series_from_dataset(ds))
    payload = payload_of((tmp_path / "x.html").read_text("utf-8"))
    assert [d["time"][:10] for d in payload["dates"]] == [str(t)[:10] for t in ds.time.values]
    mask = next(layer for layer in payload["layers"] if layer["id"] == "mask")
    for t in range(4):
        np.testing.assert_array_equal(pixels_of(mask["images"][t])[..., 0], ds.SCL.values[t])
    assert payload["curve"]["mean"] == payload["curve"]["original"]


def test_an_original_of_another_place_is_refused(field: Path, tmp_path: Path) -> None:
    other = place()
    other = other.assign_coords(x=other.x + 5000, x20=other.x20 + 5000)
    with pytest.raises(CorruptInputError, match="lie elsewhere"):
        write_report(field, tmp_path / "x.html", original=series_from_dataset(other))
    assert not (tmp_path / "x.html").exists()


def test_an_original_of_some_dates_leaves_the_others_empty(field: Path, tmp_path: Path) -> None:
    part = series_from_dataset(place().isel(time=[0, 4]))
    told = write_report(field, tmp_path / "x.html", original=part)
    assert "3 dates are in the archive only" in "; ".join(told.notes)
    payload = payload_of((tmp_path / "x.html").read_text("utf-8"))
    error = next(layer for layer in payload["layers"] if layer["id"] == "error")
    assert (pixels_of(error["images"][2]) == 0).all()
    assert (pixels_of(error["images"][4]) > 0).any()
    assert payload["curve"]["original"][2] is None


# ---------------------------------------------------------------- bits spent


def test_the_map_of_bits_sums_to_the_file(field: Path) -> None:
    with TracedArchive(field) as archive:
        order = archive.frame_order()
        reader = ArchiveReader.open(field)
        for position, _ in archive.stream():
            frame = order[position]
            for group, bits in enumerate(archive.spent(frame)):
                stored = sum(
                    unit.length
                    for key, unit in reader.units.items()
                    if (key.kind, key.frame, key.group) == (Kind.PIXELS, frame, group)
                )
                assert bits.sum() == pytest.approx(8 * stored)
                assert (bits >= 0).all()
        reader.close()


def test_the_traced_cost_explains_the_size_and_finds_the_place(tmp_path: Path) -> None:
    ds = scenes.dataset(1, (64, 64), groups={"": ("B04", "B08")}, seed=3)
    for band in ("B04", "B08"):
        values = np.full((1, 64, 64), 800.0)
        rng = np.random.default_rng(1)
        values[0, 32:, :32] += rng.normal(0, 300, (32, 32))  # one quarter is busy
        ds[band][:] = np.clip(values, 1, 9999).astype(np.uint16)
    stvc.encode(ds, tmp_path / "x.stvc", psnr=50, reference="none")
    with TracedArchive(tmp_path / "x.stvc") as archive:
        for _ in archive.stream():
            trace = archive._trace
            assert trace is not None
            raw = sum(float(costs.sum()) for costs in trace.costs.values())
            (bits,) = archive.spent(0)
    stored = float(bits.sum())
    assert raw == pytest.approx(stored, rel=0.03)  # the rest is the unit's header
    assert bits[32:, :32].sum() > 0.8 * stored
    blocks = bits.reshape(8, 8, 8, 8)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_what_the_network_did_not_code_is_spread_evenly() -> None:
    from stvc.codec.place import Tile

    tile = Tile(0, slice(0, 10), slice(0, 16))
    even = spread(None, tile, 320.0)
    assert even.shape == (10, 16)
    assert even.sum() == pytest.approx(320)
    costs = np.array([[10.0, 0.0], [30.0, 0.0]])
    part = spread(costs, tile, 100.0)
    assert part.sum() == pytest.approx(100)
    assert (part[:, 8:] == 0).all()
    assert spread(costs, tile, 20.0).sum() == pytest.approx(20)


@pytest.mark.parametrize("quality", [{"lossless": True}, {"max_error": 8}])
def test_bounded_archives_have_a_map_too(quality: dict[str, Any], tmp_path: Path) -> None:
    stvc.encode(scenes.dataset(2, (20, 20)), tmp_path / "x.stvc", **quality)
    with TracedArchive(tmp_path / "x.stvc") as archive:
        for k, _ in archive.stream():
            assert archive.spent(k)[0].sum() > 0


# ---------------------------------------------------------------- size


@pytest.mark.parametrize(
    ("side", "dates", "layers", "factor"),
    [(96, 140, 6, 1), (1000, 140, 6, 10), (10_980, 10, 4, 22), (100, 1, 4, 1), (600, 1, 4, 2)],
)
def test_larger_fields_are_averaged(side: int, dates: int, layers: int, factor: int) -> None:
    grid = GroupGrid("", ("a",), np.arange(side) * 1.0, np.arange(side) * 1.0)
    assert map_factor(grid, dates, layers=layers, budget=6_000_000) == factor


def test_maps_of_a_small_budget_are_small_and_still_right(field: Path, tmp_path: Path) -> None:
    write_report(field, tmp_path / "x.html", budget=9_000)
    payload = payload_of((tmp_path / "x.html").read_text("utf-8"))
    assert payload["pixel"] == 2
    assert payload["shape"] == [20, 24]
    with stvc.open(field) as archive:
        ds = archive.to_xarray()
    red, nir = (ds[b].values[0].astype(float) for b in ("B04", "B08"))
    wanted = ((nir - red) / (nir + red)).reshape(20, 2, 24, 2).mean((1, 3))
    ndvi = next(layer for layer in payload["layers"] if layer["id"] == "ndvi")
    shown = -0.5 + (pixels_of(ndvi["images"][0])[..., 0].astype(float) - 1) / 254 * 1.5
    np.testing.assert_allclose(shown, np.clip(wanted, -0.5, 1), atol=0.004)


def test_halving_keeps_gaps_and_means(field: Path) -> None:
    from stvc.report.gather import gather

    with TracedArchive(field) as archive:
        found = gather(archive, None, budget=10**7)
    assert found.ndvi is not None
    found.ndvi[0, :2, :2] = np.nan
    found.ndvi[0, 2, 0] = np.nan
    half = coarser(found)
    assert half.ndvi is not None
    assert half.factor == 2 * found.factor
    assert np.isnan(half.ndvi[0, 0, 0])
    assert half.ndvi[0, 1, 0] == pytest.approx(np.nanmean(found.ndvi[0, 2:4, :2]), abs=1e-6)
    assert half.hidden.shape == half.classes.shape == (5, 20, 24)  # type: ignore[union-attr]


# ---------------------------------------------------------------- command


def test_command(
    field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place().to_netcdf("cube.nc")
    line = ["report", str(field), "-o", "x.html", "--original", "cube.nc", "--json"]
    assert cli.run(line) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert told["dates"] == 5
    assert told["bytes"] == Path("x.html").stat().st_size
    for more, code, word in (
        (["-o", "x.pdf"], ExitCode.USAGE, "x.pdf"),
        (["-o", "gone/x.html"], ExitCode.USAGE, "gone"),
        (["--source", "sample"], ExitCode.USAGE, "--aoi"),
        (["-o", "y.html", "--original", "gone.nc"], ExitCode.NO_INPUT, "gone.nc"),
    ):
        assert cli.run(["report", str(field), *more]) == code
        assert word in capsys.readouterr().err
    assert not Path("y.html").exists()
