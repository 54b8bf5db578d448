"""The CRS in an archive: its code where that says all of it, else as it came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pyproj import CRS
from scenes import field_of

import stvc
from stvc.archive import ArchiveReader
from stvc.crs import long_crs, short_crs
from stvc.dataset import series_from_dataset
from stvc.fidelity.pairing import pair
from stvc.header import place_key

# As GDAL 2 wrote it, with a shift to WGS84 that is none.
OLD = (
    'PROJCS["ETRS89 / LAEA Europe",GEOGCS["ETRS89",DATUM['
    '"European_Terrestrial_Reference_System_1989",SPHEROID["GRS 1980",6378137,298.257222101,'
    'AUTHORITY["EPSG","7019"]],TOWGS84[0,0,0,0,0,0,0],AUTHORITY["EPSG","6258"]],'
    'PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,'
    'AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4258"]],PROJECTION["Lambert_Azimuthal_Equal_Area"],'
    'PARAMETER["latitude_of_center",52],PARAMETER["longitude_of_center",10],'
    'PARAMETER["false_easting",4321000],PARAMETER["false_northing",3210000],'
    'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AUTHORITY["EPSG","3035"]]'
)
BRITISH = CRS.from_epsg(27700).to_wkt("WKT1_GDAL")


@pytest.mark.parametrize("version", ["WKT1_GDAL", "WKT1_ESRI", "WKT2_2015", "WKT2_2019"])
@pytest.mark.parametrize("code", [3035, 4326, 32633, 32760, 27700, 28992, 3857, 5070, 2193])
def test_an_entry_is_known_in_every_spelling(code: int, version: str) -> None:
    assert short_crs(CRS.from_epsg(code).to_wkt(version)) == f"EPSG:{code}"


def test_a_shift_to_wgs84_that_is_none_may_go() -> None:
    assert short_crs(OLD) == "EPSG:3035"
    assert short_crs(OLD.replace("TOWGS84[0,0,0,0,0,0,0],", "")) == "EPSG:3035"


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("TOWGS84[0,0,0,0,0,0,0]", "TOWGS84[0.01,0,0,0,0,0,0]"),
        ('"false_easting",4321000', '"false_easting",4321000.5'),
        ('"latitude_of_center",52', '"latitude_of_center",52.000001'),
        ('UNIT["metre",1,AUTHORITY["EPSG","9001"]]', 'UNIT["foot",0.3048]'),
        ('6378137,298.257222101,AUTHORITY["EPSG","7019"]', "6378137,298.3"),
        ('"Greenwich",0,AUTHORITY["EPSG","8901"]', '"Paris",2.33722917'),
        ('AUTHORITY["EPSG","3035"]]', 'AUTHORITY["EPSG","3034"]]'),
        ('AUTHORITY["EPSG","3035"]]', 'AUTHORITY["EPSG","999999"]]'),
        ('AUTHORITY["EPSG","3035"]]', 'AUTHORITY["nowhere","3035"]]'),
    ],
)
def test_what_claims_a_code_and_is_not_it_stays(was: str, becomes: str) -> None:
    assert was in OLD
    changed = OLD.replace(was, becomes)
    assert short_crs(changed) == changed == long_crs(changed)


@pytest.mark.parametrize("shift", ["0,0,0,0,0,0,0", "446.448,-125.157,542.06,0.15,0.247,0.842,-20"])
def test_a_shift_that_moves_the_ground_stays(shift: str) -> None:
    """Even none: PROJ moves the British grid by a hundred meters without it."""
    wkt = BRITISH.replace('"7001"]],', f'"7001"]],TOWGS84[{shift}],')
    assert CRS.from_wkt(wkt).is_bound and short_crs(wkt) == wkt


@pytest.mark.parametrize("text", ["", "nonsense", 'LOCAL_CS["mine",UNIT["metre",1]]'])
def test_what_is_no_entry_stays(text: str) -> None:
    assert short_crs(text) == text


def laea(dates: slice) -> xr.Dataset:
    ds = field_of(4).isel(time=dates)
    axes = {"y": 2.5e6 - 10.0 * np.arange(16), "x": 5.2e6 + 10.0 * np.arange(16)}
    wkt = {"crs_wkt": OLD, "spatial_ref": OLD}
    return ds.assign_coords(spatial_ref=((), np.int64(0), wkt), **axes)


def test_archives_tell_the_code_and_show_its_wkt(tmp_path: Path) -> None:
    path = tmp_path / "a.stvc"
    stvc.encode(laea(slice(0, 3)), path, psnr=40)
    with ArchiveReader.open(path) as reader:
        assert reader.header["crs"] == "EPSG:3035" and reader.locator.major == 2
    stvc.append(laea(slice(0, 4)), path)
    with stvc.open(path) as archive:
        assert archive.info()["crs"] == "EPSG:3035"
        decoded = archive.to_xarray()
    assert decoded.sizes["time"] == 4
    shown = decoded.spatial_ref.attrs
    assert shown["crs_wkt"] == shown["spatial_ref"] == CRS.from_epsg(3035).to_wkt()
    assert shown["grid_mapping_name"] == "lambert_azimuthal_equal_area"
    original, back = series_from_dataset(laea(slice(0, 4))), series_from_dataset(decoded)
    assert original.crs_wkt == OLD and len(pair(original, back).times) == 4
    assert place_key(original.crs_wkt, original.grids) == place_key(back.crs_wkt, back.grids)
