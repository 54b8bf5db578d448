"""``stvc compare``: what is compared with what, the verdicts, and what users read."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr

import stvc
from stvc import cli
from stvc.dataset import dataset_from_series, series_from_dataset
from stvc.errors import CorruptInputError
from stvc.exit_codes import ExitCode
from stvc.fidelity.bands import BandQuality, Errors, overall
from stvc.fidelity.measure import Fidelity, measure
from stvc.fidelity.originals import read_original
from stvc.fidelity.pairing import pair
from stvc.fidelity.tables import headline, to_markdown, to_text
from stvc.fidelity.texture import Spectrum
from stvc.fidelity.verdicts import Level, at_least, at_most, verdicts, worst
from stvc.types import Series

GROUPS = {"": scenes.TEN, "20": ("B8A", "B11")}


def place(dates: int = 5, **more: Any) -> xr.Dataset:
    more = {"groups": GROUPS, "mask": "SCL", "crs": True, **more}
    return scenes.dataset(dates, (24, 32), **more)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    ds = place()
    stvc.encode(ds, folder / "field.stvc", psnr=45)
    stvc.encode(ds, folder / "exact.stvc", lossless=True)
    return folder


@pytest.fixture(scope="module")
def original() -> Series:
    return series_from_dataset(place())


@pytest.fixture(scope="module")
def decoded(files: Path) -> Series:
    with stvc.open(files / "field.stvc") as archive:
        return archive.to_series()


@pytest.fixture(scope="module")
def found(original: Series, decoded: Series) -> Fidelity:
    return measure(original, decoded)


# ---------------------------------------------------------------- what is compared


def test_numbers_are_of_the_decoded_pixels(
    original: Series, decoded: Series, files: Path, found: Fidelity
) -> None:
    clear = ~np.isin(original.classes, (0, 1, 3, 8, 9, 10))  # on the grid of the 10 m bands
    assert len(found.bands) == 6
    for c, band in enumerate(decoded.grids[0].bands):
        miss = decoded.pixels[0][:, c].astype(float) - original.pixels[0][:, c]
        row = next(row for row in found.bands if row.band == band)
        assert row.clear.rmse == pytest.approx(np.sqrt((miss[clear] ** 2).mean()))
        assert row.clear.bias == pytest.approx(miss[clear].mean())
        assert row.all.rmse == pytest.approx(np.sqrt((miss**2).mean()))
        assert row.all.max_error == np.abs(miss).max()
    with stvc.open(files / "field.stvc") as archive:
        info = archive.info()
    # the archive's own claim rests on rounded sums per unit
    assert found.psnr_clear == pytest.approx(info["psnr_clear"], abs=0.05)
    assert max(row.clear.max_error for row in found.bands) == info["max_error_clear"]
    ndvi = next(row for row in found.indices if row.name == "NDVI")
    assert ndvi.mae == pytest.approx(info["ndvi_mae_clear"], abs=2e-4)


def test_a_lossless_archive_is_exact(original: Series, files: Path) -> None:
    with stvc.open(files / "exact.stvc") as archive:
        same = measure(original, archive.to_series())
    assert same.to_json()["exact"]
    assert same.psnr_clear == float("inf")
    assert "exact on clear pixels" in headline(same)
    assert {v.level for v in same.verdicts} <= {Level.fit, Level.untested}
    assert all(row.all.max_error == 0 for row in same.bands)


def test_order_spelling_and_extent_of_the_original_do_not_matter(
    original: Series, decoded: Series
) -> None:
    ds = dataset_from_series(original)
    shuffled = ds.isel(time=[3, 0, 4, 2, 1], y=slice(None, None, -1), x=slice(None, None, -1))
    shuffled = shuffled.rename(B02="B2", B08="nir")[["nir", "B04", "B11", "B2", "B03", "B8A"]]
    for name in ("B2", "nir", "B04"):
        np.testing.assert_array_equal(
            shuffled[name].sortby("time").values[:, ::-1, ::-1],
            ds[{"B2": "B02", "nir": "B08"}.get(name, name)].values,
        )
    turned = pair(series_from_dataset(shuffled), decoded)
    straight = pair(original, decoded)
    assert turned.bands == straight.bands == [*scenes.TEN, "B8A", "B11"]
    for a, b in zip(turned.groups, straight.groups, strict=True):
        np.testing.assert_array_equal(a.original, b.original)
        np.testing.assert_array_equal(a.clear, b.clear)
    assert overall(turned) == overall(straight)


def test_parts_are_compared_and_told(original: Series, decoded: Series) -> None:
    ds = dataset_from_series(original)
    part = ds[["B02", "B04", "SCL"]].isel(time=slice(1, 3), y=slice(4, 20), x=slice(8, 32))
    both = pair(series_from_dataset(part), decoded)
    assert both.bands == ["B02", "B04"]
    assert both.groups[0].original.shape == (2, 2, 16, 24)
    np.testing.assert_array_equal(
        both.groups[0].decoded, decoded.pixels[0][1:3][:, [0, 2], 4:20, 8:32]
    )
    text = "; ".join(both.notes)
    for word in ("3 dates are in the archive only", "B03, B08", "16 x 24 of 24 x 32"):
        assert word in text, text


def test_days_match_where_times_of_day_differ(original: Series, decoded: Series) -> None:
    noon = replace(original, times=original.times.astype("datetime64[D]").astype("datetime64[s]"))
    assert "matched by day" in "; ".join(pair(noon, decoded).notes)


def test_coordinates_may_lack_on_one_side(original: Series, decoded: Series) -> None:
    bare = replace(
        original,
        crs_wkt="",
        grids=tuple(
            replace(g, y=np.arange(len(g.y)) * 1.0, x=np.arange(len(g.x)) * 1.0)
            for g in original.grids
        ),
    )
    both = pair(bare, decoded)
    assert "matched by row and column" in "; ".join(both.notes)
    assert overall(both) == overall(pair(original, decoded))


def _shifted(series: Series, meters: float) -> Series:
    return replace(series, grids=tuple(replace(g, x=g.x + meters) for g in series.grids))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda s: replace(s, times=s.times + np.timedelta64(4000, "D")), "share no date"),
        (lambda s: _shifted(s, 3.0), "lie elsewhere"),
        (lambda s: _shifted(s, 9e5), "lie elsewhere"),
        (lambda s: replace(s, grids=tuple(replace(g, x=g.x * 2) for g in s.grids)), "elsewhere"),
        (
            lambda s: replace(
                s,
                grids=tuple(replace(g, bands=tuple(f"z{b}" for b in g.bands)) for g in s.grids),
            ),
            "none of the archive's bands",
        ),
        (lambda s: replace(s, crs_wkt=__import__("pyproj").CRS("EPSG:3035").to_wkt()), "3035|LAEA"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: Any, word: str, original: Series, decoded: Series
) -> None:
    with pytest.raises(CorruptInputError, match=word):
        pair(change(original), decoded)


def test_the_originals_mask_serves_where_the_archive_has_none(original: Series) -> None:
    bare = series_from_dataset(place().drop_vars("SCL"))
    both = pair(original, bare)
    assert both.has_mask
    assert "SCL" in "; ".join(both.notes)
    assert not both.groups[0].clear.all()
    none = pair(bare, bare)
    assert not none.has_mask
    assert none.groups[0].clear.all()


# ---------------------------------------------------------------- odd archives


@pytest.mark.parametrize(
    ("bands", "dates", "shape", "mask"),
    [
        (("VV",), 1, (1, 1), None),
        (("VV", "VH"), 3, (9, 9), "mask"),
        (("B04", "B08"), 1, (8, 70), None),
    ],
)
def test_small_and_odd_places_are_measured_as_far_as_can_be(
    bands: tuple[str, ...], dates: int, shape: tuple[int, int], mask: str | None, tmp_path: Path
) -> None:
    ds = scenes.dataset(dates, shape, groups={"": bands}, mask=mask)
    stvc.encode(ds, tmp_path / "x.stvc", psnr=40)
    with stvc.open(tmp_path / "x.stvc") as archive:
        odd = measure(series_from_dataset(ds), archive.to_series())
    by_use = {v.use: v for v in odd.verdicts}
    assert by_use["phenology"].level is Level.untested
    assert by_use["phenology"].why_not
    assert by_use["radiometry"].level is not Level.untested
    assert (by_use["NDVI monitoring"].level is Level.untested) == ("B04" not in bands)
    told = json.loads(json.dumps(odd.to_json(), allow_nan=True))
    assert told["phenology"]["skipped"]
    assert "not tested" in to_text(odd, "x")


def test_nothing_clear_is_told_and_no_failure() -> None:
    ds = place(2)
    ds["SCL"][:] = 9
    series = series_from_dataset(ds)
    blind = measure(series, series)
    assert blind.clear_share == 0
    assert blind.psnr_clear is None
    assert {v.level for v in blind.verdicts} == {Level.untested}
    assert "n/a" in to_text(blind, "x")


# ---------------------------------------------------------------- verdicts


def test_limits_belong_to_the_better_side() -> None:
    assert [at_most("", v, 1, 2).level for v in (1, 1.01, 2, 2.01)] == [
        Level.fit,
        Level.care,
        Level.care,
        Level.unfit,
    ]
    assert [at_least("", v, 0.9, 0.8).level for v in (0.9, 0.89, 0.8, 0.79)] == [
        Level.fit,
        Level.care,
        Level.care,
        Level.unfit,
    ]
    both = worst("x", [at_most("a", 0, 1, 2), at_most("b", 9, 1, 2)])
    assert both.level is Level.unfit


def test_texture_that_the_original_lacks_cannot_be_lost() -> None:
    ratio = (1.0, 1.1, 20.0, 200.0)
    empty = Spectrum("B01", 32, 9, ratio, (90.0, 8.0, 1.0, 0.2), (None,) * 4)
    full = Spectrum("B04", 32, 9, ratio, (90.0, 80.0, 70.0, 60.0), (None,) * 4)
    for spectrum, level in ((empty, Level.fit), (full, Level.unfit)):
        judged = verdicts([], [], "no", "no", "no", [spectrum])
        assert next(v for v in judged if v.use == "texture and edges").level is level


def test_each_use_is_judged_by_its_own_measures(found: Fidelity) -> None:
    bad = Errors(100, 60.0, 44.4, 400, 30.0, 45.0)
    row = BandQuality("B04", 10.0, bad, bad, 0.80)
    judged = verdicts([row], [], "no", "no", "no", [])
    by_use = {v.use: v for v in judged}
    assert by_use["radiometry"].level is Level.unfit  # a bias of 30 DN
    assert by_use["texture and edges"].level is Level.unfit  # SSIM 0.80
    assert by_use["phenology"].line == "phenology: not tested (no)"
    assert [v.use for v in judged] == [v.use for v in found.verdicts]
    assert "fit: <=" in by_use["radiometry"].line


# ---------------------------------------------------------------- originals from files


@pytest.mark.parametrize("form", ["nc", "zarr", "npz", "stvc", "geotiff"])
def test_originals_are_read_from_files(
    form: str, files: Path, original: Series, decoded: Series, tmp_path: Path
) -> None:
    ds = dataset_from_series(original)
    path = tmp_path / f"cube.{form}"
    if form == "nc":
        pytest.importorskip("netCDF4")
        ds.to_netcdf(path)
    elif form == "zarr":
        pytest.importorskip("zarr")
        ds.to_zarr(path, consolidated=False)
    elif form == "npz":
        fine = np.stack([ds[b].values for b in scenes.TEN], axis=1)
        dates = [str(t)[:19] for t in ds.time.values]
        np.savez(path, x=fine, bands=list(scenes.TEN), dates=dates)
    elif form == "stvc":
        path = files / "exact.stvc"
    else:
        pytest.importorskip("rasterio")
        path = tmp_path / "tiles"
        assert cli.run(["decode", str(files / "exact.stvc"), "-o", str(path), "-q"]) == ExitCode.OK
    both = pair(read_original(path), decoded)
    straight = pair(original, decoded)
    wanted = scenes.TEN if form == "npz" else straight.bands
    assert both.bands == list(wanted)
    for a, b in zip(both.groups, straight.groups, strict=False):
        np.testing.assert_array_equal(a.original, b.original)
        np.testing.assert_array_equal(a.clear, b.clear)


def test_pickled_originals_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                       files: Path) -> None:  # fmt: skip
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], object), bands=["B04"], dates=["2020"])
    line = ["compare", str(tmp_path / "x.npz"), str(files / "field.stvc")]
    assert cli.run(line) not in (ExitCode.OK, ExitCode.FAILURE)
    assert "x.npz" in capsys.readouterr().err


# ---------------------------------------------------------------- command


def test_command(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exact, field = str(files / "exact.stvc"), str(files / "field.stvc")
    assert cli.run(["compare", exact, field, "--json", "-o", "x.html"]) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert told["command"] == "compare"
    assert [row["band"] for row in told["bands"]] == [*scenes.TEN, "B8A", "B11"]
    assert {v["level"] for v in told["verdicts"]} <= {level.value for level in Level}
    page = Path("x.html").read_text("utf-8")
    assert "<script" not in page
    assert "script-src 'none'" in html.unescape(page)
    assert cli.run(["compare", exact, field, "-o", "x.md"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "Fit for use" in text
    assert Path("x.md").read_text("utf-8").count("\n## ") >= 3
    np.save("labels.npy", np.ones((24, 32), np.uint8))
    assert cli.run(["compare", exact, field, "--labels", "labels.npy", "-q"]) == ExitCode.OK
    for arguments, code, word in (
        (["compare", exact], ExitCode.USAGE, "ARCHIVE"),
        (["compare", exact, field, "-o", "x.doc"], ExitCode.USAGE, "x.doc"),
        (["compare", exact, field, "--source", "sample"], ExitCode.USAGE, "--source"),
        (["compare", exact, "--source", "sample"], ExitCode.USAGE, "--aoi"),
        (["compare", "gone.nc", field], ExitCode.NO_INPUT, "gone.nc"),
        (["compare", exact, "gone.stvc"], ExitCode.NO_INPUT, "gone.stvc"),
        (["compare", exact, field, "--labels", "gone.npy"], ExitCode.NO_INPUT, "gone.npy"),
    ):
        assert cli.run(arguments) == code, arguments
        assert word in capsys.readouterr().err


def test_names_cannot_break_the_tables(original: Series) -> None:
    evil = "B|`<script>alert(1)</script>"
    series = replace(
        original,
        grids=(replace(original.grids[0], bands=(evil, "B03", "B04", "B08")), original.grids[1]),
        band_attrs={},
    )
    odd = measure(series, series)
    markdown = to_markdown(odd, evil)
    assert "<script>" not in markdown
    table = [line for line in markdown.splitlines() if "alert" in line and line.startswith("|")]
    plain = [line.replace("\\|", "") for line in table]
    assert all(line.count("|") == 12 for line in plain if line.count("|") > 10)
    from stvc.report.page import compare_page

    page = compare_page(odd, evil)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
