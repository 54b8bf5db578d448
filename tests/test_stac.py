"""STAC catalogs: valid, relative, true to the archive, and readable by those who read STAC."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import xarray as xr
from stac_rules import schemas

import stvc
from stvc import cli
from stvc.exit_codes import ExitCode
from stvc.export import FrameStream, RasterForm, stream_rasters
from stvc.stac.fields import crs_fields, extensions_of, footprint

pystac = pytest.importorskip("pystac")
GROUPS = {"": ("B03", "B08"), "20": ("B11",)}
PRODUCT = "S2B_MSIL2A_20210304T104021_N0509_R008_T31UFS_20230101T000000"


def scene(**options: Any) -> xr.Dataset:
    ds = scenes.dataset(3, (20, 24), groups=GROUPS, mask="SCL", **{"crs": True, **options})
    ds["product_id"] = ("time", np.array([PRODUCT, None, "other"], object))
    ds["baseline"] = ("time", np.array(["05.09", None, None], object))
    return ds


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with rasters of two of its dates, and its catalog."""
    home = tmp_path_factory.mktemp("place")
    stvc.encode(scene(), home / "field.stvc", max_error=30)
    with stvc.open(home / "field.stvc") as archive:
        times = archive.times[:2]
        for split in (False, True):
            stream = FrameStream.of_archive(archive, times)
            stream_rasters(stream, home / "cogs", RasterForm(cog=True, split=split))
    assert run(home, "--rasters", str(home / "cogs"), "--license", "CC-BY-4.0") == ExitCode.OK
    return home


def run(home: Path, *more: str, name: str = "field") -> int:
    return cli.run(["stac", str(home / f"{name}.stvc"), "-o", str(home / "stac"), "-q", *more])


@pytest.fixture
def catalog(place: Path) -> Any:
    return pystac.Catalog.from_file(str(place / "stac" / "catalog.json"))


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validate with pystac's schemas of the core, and ours of the extensions."""
    from pystac.validation import RegisteredValidator, stac_validator

    validator = stac_validator.JsonSchemaSTACValidator()
    validator.schema_cache.update(schemas())
    monkeypatch.setattr(RegisteredValidator, "_validator", validator)


def test_everything_is_valid(catalog: Any, rules: None) -> None:
    assert catalog.validate_all() == 3  # and what they hang on, which is not counted
    (collection,) = catalog.get_children()
    assert len(list(collection.get_items())) == 3


def test_the_rules_notice_what_is_wrong(catalog: Any, rules: None) -> None:
    item = next(catalog.get_items(recursive=True))
    for key, wrong in (
        ("eo:cloud_cover", 101),
        ("proj:shape", [20]),
        ("proj:epsg", 32631),
        ("processing:level", "Level 2"),
    ):
        broken = item.clone()
        broken.properties[key] = wrong
        with pytest.raises(pystac.STACValidationError):
            broken.validate()
    broken = item.clone()
    broken.assets["archive"].extra_fields["bands"][0]["eo:common_name"] = "greenish"
    with pytest.raises(pystac.STACValidationError):
        broken.validate()


def test_a_date_says_where_it_is_and_comes_from(catalog: Any, place: Path) -> None:
    items = list(catalog.get_items(recursive=True))
    assert [item.id for item in items] == [
        f"field_{day}T104021" for day in ("20210304", "20210309", "20210314")
    ]
    first = items[0]
    told = first.properties
    assert first.datetime.isoformat() == "2021-03-04T10:40:21+00:00"
    assert told["proj:code"] == "EPSG:32631"
    assert told["proj:shape"] == [20, 24]
    assert told["proj:transform"] == [10.0, 0.0, scenes.WEST, 0.0, -10.0, scenes.NORTH]
    assert told["platform"] == "sentinel-2b"
    assert told["processing:level"] == "L2A"
    assert told["processing:version"] == "05.09"
    assert PRODUCT in told["processing:lineage"]
    assert "within 30 DN" in told["processing:lineage"]
    assert told["stvc:max_error_clear"] <= 30
    with stvc.open(place / "field.stvc") as archive:
        shares = [date["clear_share"] for date in archive.info()["dates"]]
    assert [item.properties["eo:cloud_cover"] for item in items] == pytest.approx(
        [100 * (1 - share) for share in shares], abs=0.05
    )
    assert "platform" not in items[1].properties
    west, south, east, north = first.bbox
    assert 0 < east - west < 0.005
    assert 50.5 < south < north < 50.6


def test_assets_are_what_they_say(catalog: Any, place: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    first, _, last = catalog.get_items(recursive=True)
    assert set(first.assets) == {"archive", "10m", "20m", "SCL", "B03", "B08", "B11"}
    assert set(last.assets) == {"archive"}
    for key, asset in first.assets.items():
        assert not Path(asset.href).is_absolute()
        content = Path(asset.get_absolute_href()).read_bytes()
        fields = asset.extra_fields
        assert fields["file:size"] == len(content)
        assert fields["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        if key == "archive":
            assert Path(asset.get_absolute_href()).samefile(place / "field.stvc")
            continue
        assert asset.media_type == pystac.MediaType.COG
        with rasterio.open(asset.get_absolute_href()) as raster:
            assert list(raster.transform)[:6] == fields["proj:transform"]
            assert list(raster.shape) == fields["proj:shape"]
            assert [band["name"] for band in fields["bands"]] == list(raster.descriptions)
            if key != "SCL":
                assert [band["raster:scale"] for band in fields["bands"]] == list(raster.scales)
                assert {band["nodata"] for band in fields["bands"]} == {raster.nodata}
    infrared = first.assets["20m"].extra_fields["bands"][0]
    assert (infrared["eo:common_name"], infrared["gsd"]) == ("swir16", 20)
    assert infrared["eo:center_wavelength"] == pytest.approx(1.6137)
    classes = first.assets["SCL"].extra_fields["bands"][0]["classification:classes"]
    assert classes[9]["name"] == "cloud_high_probability"


def test_a_collection_sums_up(catalog: Any) -> None:
    (collection,) = catalog.get_children()
    assert collection.license == "CC-BY-4.0"
    assert [t.isoformat() for t in collection.extent.temporal.intervals[0]] == [
        "2021-03-04T10:40:21+00:00",
        "2021-03-14T10:40:21+00:00",
    ]
    cube = collection.extra_fields
    assert cube["cube:dimensions"]["x20"]["step"] == 20
    assert cube["cube:dimensions"]["y"]["reference_system"] == 32631
    assert cube["cube:variables"]["B11"]["dimensions"] == ["time", "y20", "x20"]
    assert collection.summaries.to_dict()["gsd"] == [10, 20]


def test_links_are_relative_and_survive_a_move(place: Path, tmp_path: Path) -> None:
    text = "".join(path.read_text() for path in (place / "stac").rglob("*.json"))
    assert str(place) not in text
    moved = tmp_path / "elsewhere"
    place.rename(moved)
    try:
        catalog = pystac.Catalog.from_file(str(moved / "stac" / "catalog.json"))
        for item in catalog.get_items(recursive=True):
            assert Path(item.assets["archive"].get_absolute_href()).is_file()
    finally:
        moved.rename(place)


def test_written_again_it_is_the_same_and_grows(place: Path) -> None:
    def content() -> dict[str, str]:
        return {str(p): p.read_text() for p in sorted((place / "stac").rglob("*.json"))}

    flags = ("--rasters", str(place / "cogs"), "--license", "CC-BY-4.0")
    before = content()
    assert run(place, *flags) == ExitCode.OK
    assert content() == before
    (place / "other.stvc").write_bytes((place / "field.stvc").read_bytes())
    assert run(place, name="other") == ExitCode.OK
    catalog = pystac.Catalog.from_file(str(place / "stac" / "catalog.json"))
    assert sorted(child.id for child in catalog.get_children()) == ["field", "other"]
    assert len(list(catalog.get_items(recursive=True))) == 6


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::DeprecationWarning")
def test_odc_loads_the_rasters(catalog: Any, place: Path) -> None:
    odc = pytest.importorskip("odc.stac")
    items = [item for item in catalog.get_items(recursive=True) if "B08" in item.assets]
    loaded = odc.load(items, bands=["B08", "SCL"])
    with stvc.open(place / "field.stvc") as archive:
        wanted = archive.to_xarray().isel(time=slice(0, 2))
    np.testing.assert_array_equal(loaded.B08.values, wanted.B08.values)
    np.testing.assert_array_equal(loaded.SCL.values, wanted.SCL.values)


def test_places_without_much(
    tmp_path: Path, rules: None, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = scene(crs=False)[["B03"]].isel(time=[0], y=[0], x=[0])
    bare = bare.rename(B03="sigma0").drop_vars(["y", "x"])
    stvc.encode(bare, tmp_path / "bare.stvc")
    archive, out = str(tmp_path / "bare.stvc"), tmp_path / "c"
    assert cli.run(["stac", archive, "-o", str(out), "--json"]) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert (said["collections"], said["items"], said["rasters"]) == (1, 1, 0)
    catalog = pystac.Catalog.from_file(str(out / "catalog.json"))
    assert catalog.validate_all() == 1
    (item,) = catalog.get_items(recursive=True)
    assert item.geometry is None
    assert not any(key.startswith(("proj:", "eo:")) for key in item.properties)


def test_what_cannot_be(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin" / "field.stvc").write_bytes((place / "field.stvc").read_bytes())
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "catalog.json").write_text('{"name": "shop"}')
    archive = str(place / "field.stvc")
    for arguments, code, said in (
        ([archive, str(tmp_path / "twin/field.stvc")], ExitCode.CORRUPT, "two archives are named"),
        ([archive, "--rasters", str(tmp_path / "empty")], ExitCode.CORRUPT, "holds no raster"),
        ([archive, "--rasters", str(tmp_path / "no")], ExitCode.USAGE, "is no directory"),
        ([str(tmp_path / "no.stvc")], ExitCode.NO_INPUT, "no such archive"),
    ):
        assert cli.run(["stac", *arguments, "-o", str(tmp_path / "out")]) == code
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    assert cli.run(["stac", archive, "-o", str(tmp_path / "odd")]) == ExitCode.CORRUPT
    assert "is no STAC catalog" in capsys.readouterr().err
    assert cli.run(["stac", archive, "-o", archive]) == ExitCode.USAGE


def test_footprints() -> None:
    outline, box = footprint("EPSG:32631", [500_000, 5_600_000, 500_960, 5_600_960])
    assert len(outline["coordinates"][0]) == 5  # straight edges need no points between
    assert box[0] == pytest.approx(3, abs=1e-6)
    large, _ = footprint("EPSG:32631", [300_000, 5_590_200, 409_800, 5_700_000])
    assert len(large["coordinates"][0]) > 8
    split, box = footprint("EPSG:32701", [117_000, 8_000_000, 250_000, 8_050_000])
    assert split["type"] == "MultiPolygon"
    longitudes = [x for part in split["coordinates"] for x, _ in part[0]]
    assert min(longitudes) == -180
    assert max(longitudes) == 180
    assert box[0] > 179 > 0 > box[2] > -180


def test_names_of_crs_and_extensions() -> None:
    from pyproj import CRS

    shifted = (
        CRS.from_epsg(3035)
        .to_wkt("WKT1_GDAL")
        .replace('AUTHORITY["EPSG","6258"]', 'TOWGS84[0,0,0,0,0,0,0],AUTHORITY["EPSG","6258"]')
    )
    assert crs_fields(shifted) == {"proj:code": "EPSG:3035"}
    own = CRS.from_proj4("+proj=laea +lat_0=12.3 +lon_0=45.6 +units=m").to_wkt()
    assert crs_fields(own)["proj:code"] is None
    assert crs_fields(own)["proj:wkt2"].startswith("PROJCRS")
    assert [uri.split("/")[3] for uri in extensions_of({"a": [{"eo:x": 1}], "file:size": 2})] == [
        "eo",
        "file",
    ]
