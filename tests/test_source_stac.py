"""The stac source: real clients against a loopback API, a static catalog, and a file server."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers.places import FIELD, area
from servers.stac_products import GSD, LEFT, TOP, Product, dn_at, item_of, write_rasters
from servers.stac_server import COLLECTION, StacServer

from stvc.dataset import series_from_dataset
from stvc.errors import AuthError, NoDataError, SourceError, UnavailableError
from stvc.source import get_source
from stvc.source.stac import StacSource

OLD = Product("2021-06-01")
NEW = Product("2022-06-06", baseline="05.09", offset=1000)
GONE = Product("2022-06-11", baseline="05.09", extra={"earthsearch:boa_offset_applied": True})
LIES = Product("2022-06-16", baseline="05.09", extra={"earthsearch:boa_offset_applied": False})
DAYS = (OLD, NEW, GONE, LIES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StacServer]:
    folder = tmp_path_factory.mktemp("cogs")
    for product in DAYS:
        write_rasters(product, folder)
    with StacServer(folder) as running:
        running.items = [item_of(product, running.url) for product in DAYS]
        yield running


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.05")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "2")


def expected(band: str, day: str, bounds: tuple[float, ...]) -> np.ndarray:
    """DN of a box from the formula, independent of any raster."""
    left, bottom, right, top = bounds
    gsd = GSD[band]
    side = round(max(right - left, top - bottom) / gsd)
    whole = dn_at(band, left, top, side, day)
    return whole[: round((top - bottom) / gsd), : round((right - left) / gsd)]


def bounds_of(ds: Any, suffix: str) -> tuple[float, float, float, float]:
    y, x = ds[f"y{suffix}"].values, ds[f"x{suffix}"].values
    half = abs(x[1] - x[0]) / 2
    return x[0] - half, y[-1] - half, x[-1] + half, y[0] + half


def stac(server: StacServer, **options: Any) -> StacSource:
    return StacSource(server.api, COLLECTION, **options)


def test_frames_of_an_api(server: StacServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "stvc"):
        ds = stac(server).fetch(area(), None, None, None, ())
    assert sorted(name for name in ds.data_vars if ds[name].ndim == 3) == sorted(GSD)
    assert bounds_of(ds, "") == bounds_of(ds, "20") == bounds_of(ds, "60")
    left, bottom, right, top = bounds_of(ds, "60")
    assert left <= FIELD[0] < left + 60 and right - 60 < FIELD[2] <= right
    assert bottom <= FIELD[1] < bottom + 60 and top - 60 < FIELD[3] <= top
    for band, gsd in GSD.items():
        suffix = "" if gsd == 10 else str(gsd)
        assert ds[band].dims == ("time", f"y{suffix}", f"x{suffix}")
        for frame, product in enumerate(DAYS):
            np.testing.assert_array_equal(
                ds[band].values[frame], expected(band, product.day, bounds_of(ds, suffix))
            )
    assert ds["offset_dn"].values.tolist() == [0, -1000, 0, 0]
    assert ds["baseline"].values.tolist() == ["02.14", "05.09", "05.09", "05.09"]
    assert ds["harmonized"].values.all()
    assert ds["product_id"].values.tolist() == [product.name for product in DAYS]
    assert [str(t)[:19] for t in ds.time.values] == [f"{p.day}T{p.clock}" for p in DAYS]
    assert "EPSG" in ds.spatial_ref.attrs["crs_wkt"] and "32631" in ds.spatial_ref.attrs["crs_wkt"]
    # the catalog denied the offset's removal, and the pixels proved it wrong
    assert [r for r in caplog.records if LIES.item_id in r.getMessage()]
    assert not [r for r in caplog.records if NEW.item_id in r.getMessage()]
    assert "incomplete" not in ds.attrs
    series_from_dataset(ds)


def test_searches_are_paged_and_narrow(server: StacServer) -> None:
    server.requests.clear()
    times = stac(server).dates(area(), date(2022, 6, 6), date(2022, 6, 11))
    assert [str(t) for t in times] == ["2022-06-06T10:50:31", "2022-06-11T10:50:31"]
    searches = [path for _, path in server.requests if path == "/v1/search"]
    assert len(searches) >= 1
    assert not [path for _, path in server.requests if path.endswith(".tif")]
    with StacServer(server.folder, server.items, methods=("GET",)) as reading:
        assert len(StacSource(reading.api, COLLECTION).dates(area(), None, None)) == 4
        assert {method for method, path in reading.requests if "search" in path} == {"GET"}


def test_excluded_frames_are_not_read(server: StacServer) -> None:
    source = stac(server)
    times = source.dates(area(), None, None)
    server.requests.clear()
    ds = source.fetch(area(), None, None, ["B04"], tuple(times[:3]))
    assert ds.sizes["time"] == 1 and list(ds.data_vars)[:1] == ["B04"]
    read = {path for _, path in server.requests if path.endswith(".tif")}
    assert {path.rpartition("_")[2] for path in read} == {"B04.tif", "SCL.tif"}
    assert all(LIES.name in path for path in read)
    server.requests.clear()
    nothing = source.fetch(area(), None, None, ["B04"], tuple(times))
    assert nothing.sizes["time"] == 0 and nothing.sizes["y"] == ds.sizes["y"]
    assert not [path for _, path in server.requests if path.endswith(".tif")]


def test_boxes_do_not_depend_on_bands_or_dates(server: StacServer) -> None:
    source = stac(server)
    ten = source.fetch(area(), None, date(2021, 12, 1), ["B04"], ())
    again = source.fetch(area(), date(2022, 6, 10), None, ["B04"], ())
    assert np.array_equal(ten.x, again.x) and np.array_equal(ten.y, again.y)
    assert ten.sizes["x"] == 2 * ten.sizes["x20"]


def test_a_static_catalog_on_disk_and_behind_http(server: StacServer, tmp_path: Path) -> None:
    for product in DAYS[:2]:
        write_rasters(product, tmp_path)
        item = item_of(product, ".")
        item["links"] = [{"rel": "root", "href": "catalog.json"}]
        (tmp_path / f"{product.item_id}.json").write_text(json.dumps(item))
    links = [{"rel": "item", "href": f"./{p.item_id}.json"} for p in DAYS[:2]]
    root = {"type": "Catalog", "id": "c", "description": "d", "stac_version": "1.0.0"}
    (tmp_path / "catalog.json").write_text(json.dumps(root | {"links": links}))
    local = StacSource(str(tmp_path / "catalog.json")).fetch(area(), None, None, None, ())
    with StacServer(tmp_path) as files:
        remote = StacSource(f"{files.url}/catalog.json").fetch(area(), None, None, None, ())
    api = stac(server).fetch(area(), None, date(2022, 6, 6), None, ())
    assert local.identical(remote)
    assert local.drop_attrs().equals(api.drop_attrs())
    collected = {"type": "FeatureCollection", "features": server.items[:2]}
    (tmp_path / "items.json").write_text(json.dumps(collected))
    found = StacSource(str(tmp_path / "items.json")).fetch(area(), None, None, None, ())
    assert found.drop_attrs().equals(api.drop_attrs())


def test_the_copernicus_data_space_names_assets_by_resolution(tmp_path: Path) -> None:
    write_rasters(NEW, tmp_path)
    write_rasters(Product("2022-06-06", baseline="05.09", bands=("B8A",)), tmp_path)
    with StacServer(tmp_path) as files:
        item = item_of(NEW, files.url, style="cdse")
        item["assets"]["B04_20m"] = item["assets"]["B8A_20m"] | {"href": "nowhere.tif"}
        files.items = [item]
        # no product id and no earth-search property: the baseline is in processing:version
        item["id"] = "some-id"
        ds = StacSource(files.api).fetch(area(), None, None, ["B04", "B8A"], ())
    assert ds["baseline"].values.tolist() == ["05.09"]
    assert ds["B04"].dims[1:] == ("y", "x") and ds["B8A"].dims[1:] == ("y20", "x20")


def test_halves_of_an_overpass_are_one_frame(tmp_path: Path) -> None:
    pair = {"bands": ("B04", "SCL")}
    west = Product("2021-06-01", clock="10:50:45", left=LEFT - 900, **pair)
    east = Product("2021-06-01", tile="31UGS", left=LEFT + 300, baseline="03.01", **pair)
    next_orbit = Product(
        "2021-06-01", clock="12:30:00", datatake="122959", orbit="R052", bands=("B04", "SCL")
    )
    for product in (west, east, next_orbit):
        write_rasters(product, tmp_path)
    with StacServer(tmp_path) as files:
        files.items = [item_of(p, files.url) for p in (next_orbit, west, east)]
        ds = StacSource(files.api).fetch(area(), None, None, None, ())
    assert [str(t)[:19] for t in ds.time.values] == ["2021-06-01T10:50:31", "2021-06-01T12:30:00"]
    assert ds["product_id"].values[0] == f"{west.name};{east.name}"
    np.testing.assert_array_equal(
        ds["B04"].values[0], expected("B04", "2021-06-01", bounds_of(ds, ""))
    )


def test_products_are_listed_as_frames_name_them(server: StacServer) -> None:
    source = stac(server)
    rows = source.products(area(), None, None)
    asked = len(server.requests)
    ds = source.fetch(area(), date(2022, 6, 1), None, ["B04"], ())
    assert [row["time"] for row in rows][-3:] == list(ds.time.values.astype("datetime64[s]"))
    for key in ("product_id", "baseline"):
        assert [row[key] for row in rows][-3:] == ds[key].values.tolist()
    # The fetch goes by what was listed.
    assert not [path for _, path in server.requests[asked:] if path == "/v1/search"]


def test_an_item_without_rasters_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_rasters(OLD, tmp_path)
    with StacServer(tmp_path) as files:
        bare = item_of(NEW, files.url)
        bare["assets"] = {"metadata": bare["assets"]["metadata"]}
        del bare["properties"]["s2:processing_baseline"], bare["properties"]["s2:product_uri"]
        files.items = [bare, item_of(OLD, files.url)]
        with caplog.at_level(logging.WARNING, "stvc"):
            ds = StacSource(files.api).fetch(area(), None, None, ["B04"], ())
        assert ds["product_id"].values.tolist() == [OLD.name]
        assert f"item {NEW.item_id} without raster assets: passed over" in caplog.text
        files.items = [bare]
        with pytest.raises(SourceError, match="no asset that is known to be a Sentinel-2 band"):
            StacSource(files.api).dates(area(), None, None)


def test_the_newest_version_of_a_product_is_read(tmp_path: Path) -> None:
    old, new = Product("2021-06-01"), Product("2021-06-01", baseline="05.00", offset=1000)
    for product in (old, new):
        write_rasters(product, tmp_path)
    with StacServer(tmp_path) as files:
        files.items = [item_of(p, files.url) for p in (new, old)]
        ds = StacSource(files.api).fetch(area(), None, None, ["B04"], ())
    assert ds["product_id"].values.tolist() == [new.name]
    np.testing.assert_array_equal(
        ds["B04"].values[0], expected("B04", "2021-06-01", bounds_of(ds, ""))
    )


@pytest.mark.parametrize("fault", [[404] * 9, [403] * 9, [503] * 60, ["cut"] * 60])
def test_a_frame_is_whole_or_an_error(server: StacServer, fault: list[Any]) -> None:
    part = f"{NEW.name}_B04.tif"
    try:
        server.faults[part] = list(fault)
        with pytest.raises(SourceError, match=r"frame 2022-06-06T10:50:31: .*B04\.tif"):
            stac(server).fetch(area(), None, None, ["B04", "B08"], ())
        server.faults[part] = list(fault)
        ds = stac(server, on_frame_error="skip").fetch(area(), None, None, ["B04", "B08"], ())
    finally:
        server.faults.clear()
    assert [str(t)[:10] for t in ds.time.values] == [OLD.day, GONE.day, LIES.day]
    (lost,) = json.loads(ds.attrs["incomplete"])
    assert (lost["time"], lost["product_id"]) == ("2022-06-06T10:50:31", NEW.name)
    assert re.match(r"(Source|Unavailable|Auth)Error: .*B04\.tif", lost["error"])


def test_a_short_outage_is_waited_for(server: StacServer) -> None:
    server.faults[f"{NEW.name}_B04.tif"] = [503, 429]
    server.faults["/v1/search"] = [503]
    try:
        ds = stac(server).fetch(area(), None, None, ["B04"], ())
    finally:
        server.faults.clear()
    assert ds.sizes["time"] == 4 and "incomplete" not in ds.attrs


def test_a_missing_asset_is_an_error_not_nodata(tmp_path: Path) -> None:
    whole, part = Product("2021-06-01"), Product("2021-06-06", bands=("B02", "SCL"))
    for product in (whole, part):
        write_rasters(product, tmp_path)
    with StacServer(tmp_path) as files:
        files.items = [item_of(p, files.url) for p in (whole, part)]
        source = StacSource(files.api)
        with pytest.raises(SourceError, match=rf"{part.item_id} has no B04; it has B02, SCL"):
            source.fetch(area(), None, None, ["B04"], ())
        assert source.fetch(area(), None, None, ["B02"], ()).sizes["time"] == 2


def test_a_catalog_that_announces_another_grid_is_found_out(tmp_path: Path) -> None:
    write_rasters(OLD, tmp_path)
    with StacServer(tmp_path) as files:
        item = item_of(OLD, files.url)
        item["assets"]["red"]["proj:transform"] = [10, 0, LEFT + 10, 0, -10, TOP]
        files.items = [item]
        with pytest.raises(SourceError, match="announced as 120 x 120 .* the catalog is wrong"):
            StacSource(files.api).fetch(area(), None, None, ["B04"], ())
        for asset in item["assets"].values():
            asset.pop("proj:transform", None)
        ds = StacSource(files.api).fetch(area(), None, None, ["B04"], ())
    np.testing.assert_array_equal(ds["B04"].values[0], expected("B04", OLD.day, bounds_of(ds, "")))


def test_tiles_of_two_utm_zones(tmp_path: Path) -> None:
    home = Product("2021-06-01", bands=("B04", "SCL"))
    field = area()
    left, _, _, top = field.bounds_in("EPSG:32632")
    other = Product(
        "2021-06-06", epsg=32632, tile="32UKB", left=left // 60 * 60 - 300,
        top=top // 60 * 60 + 300, bands=("B04", "SCL"),
    )  # fmt: skip
    for product in (home, other):
        write_rasters(product, tmp_path)
    with StacServer(tmp_path) as files:
        files.items = [item_of(p, files.url) for p in (other, home)]
        assert len(StacSource(files.api).dates(field, None, None)) == 1
        ds = StacSource(files.api, crs="EPSG:32632").fetch(field, None, None, None, ())
    assert str(ds.time.values[0])[:10] == "2021-06-06" and "32632" in ds.spatial_ref.crs_wkt


def test_assets_and_offsets_may_be_given(server: StacServer) -> None:
    odd = get_source(
        "stac", stac_url=server.api, collection=COLLECTION, assets="B4=nir, B08=red", dn_offset="0"
    )
    ds = odd.fetch(area(), None, date(2022, 6, 6), ["B04"], ())
    np.testing.assert_array_equal(
        ds["B04"].values[1], expected("B08", NEW.day, bounds_of(ds, "")) + 1000
    )
    assert "SCL" not in ds
    with pytest.raises(SourceError, match="has no asset pink; its assets are thumbnail"):
        stac(server, assets={"B04": "pink"}).dates(area(), None, None)
    with pytest.raises(SourceError, match="'B04' is not of the form BAND=KEY"):
        stac(server, assets="B04")


def test_what_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    write_rasters(OLD, tmp_path)
    with StacServer(tmp_path, collections=["a", "b"]) as files:
        item = item_of(OLD, files.url)
        for key in ("s2:processing_baseline", "s2:product_uri"):
            del item["properties"][key]
        files.items = [item]
        with pytest.raises(SourceError, match="has 2 collections; choose one with --collection"):
            StacSource(files.api).dates(area(), None, None)
        with pytest.raises(SourceError, match="neither its processing baseline nor an offset"):
            StacSource(files.api, COLLECTION).dates(area(), None, None)
        ds = StacSource(files.api, COLLECTION, dn_offset=0).fetch(area(), None, None, ["B04"], ())
    assert "baseline" not in ds


def test_servers_that_refuse_or_are_gone(server: StacServer, tmp_path: Path) -> None:
    field = area()
    server.faults["/v1/search"] = [403]
    with pytest.raises(AuthError, match=r"refuses access \(HTTP 403\)"):
        stac(server).dates(field, None, None)
    with pytest.raises(NoDataError, match="has no item over field"):
        stac(server).fetch(field, date(2030, 1, 1), None, None, ())
    with pytest.raises(UnavailableError, match="does not answer") as told:
        StacSource("http://user:secret@127.0.0.1:9/v1?key=hidden").dates(field, None, None)
    assert "secret" not in str(told.value) and "hidden" not in str(told.value)
    with pytest.raises(SourceError, match=r"gone\.json does not exist"):
        StacSource(str(tmp_path / "gone.json")).dates(field, None, None)
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(SourceError, match="no STAC"):
        StacSource(str(tmp_path / "list.json")).dates(field, None, None)
    (tmp_path / "text.json").write_text("<html>")
    with pytest.raises(SourceError, match="is not a STAC catalog"):
        StacSource(str(tmp_path / "text.json")).dates(field, None, None)


def test_frames_without_a_pixel_of_the_area_are_left_out(tmp_path: Path) -> None:
    blind = Product("2021-06-06", blank=(slice(0, 120), slice(0, 120)))
    for product in (OLD, blind):
        write_rasters(product, tmp_path)
    with StacServer(tmp_path) as files:
        files.items = [item_of(p, files.url) for p in (OLD, blind)]
        ds = StacSource(files.api).fetch(area(), None, None, ["B04"], ())
    assert [str(t)[:10] for t in ds.time.values] == [OLD.day]
