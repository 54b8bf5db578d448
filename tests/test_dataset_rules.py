"""What a dataset must hold: other types are cast where nothing is lost, else one clear line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from small_datasets import TIMES, small

from stvc.dataset import series_from_dataset
from stvc.errors import CorruptInputError


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float64",
        "float16",
        "int32",
        "int64",
        "uint8",
        ">u2",
        ">f4",
    ],
)
def test_integer_values_of_other_dtypes_are_cast(dtype: str) -> None:
    ds = small()
    want = ds["B04"].values
    ds["B04"] = ds["B04"].astype(dtype)
    got = series_from_dataset(ds).pixels[0]
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got[:, 0], want)


def test_nan_is_nodata() -> None:
    ds = small()
    ds["B04"] = ds["B04"].astype("float32").where(ds["x"] > 220)
    ds["SCL"] = (("time", "y", "x"), np.full((3, 4, 6), np.nan))
    series = series_from_dataset(ds)
    assert (series.pixels[0][:, 0, :, :3] == 0).all()
    assert (series.pixels[0][1:, 0, :, 3:] > 0).all()
    assert series.classes.dtype == np.uint8
    assert not series.classes.any()


BROKEN: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "reflectance": (
        lambda ds: ds.assign(B04=ds["B04"] / 10000),
        "variable B04 holds 0.0001, want integers; give DN = reflectance x 10000",
    ),
    "negative": (
        lambda ds: ds.assign(B04=ds["B04"].astype("int32") - 1),
        "variable B04 holds -1, want 0 to 65535",
    ),
    "too large": (
        lambda ds: ds.assign(B04=ds["B04"].astype("uint32") + 65530),
        "variable B04 holds 65536, want 0 to 65535",
    ),
    "infinite": (
        lambda ds: ds.assign(B04=ds["B04"] + np.inf),
        "variable B04 holds inf, want 0 to 65535",
    ),
    "complex": (lambda ds: ds.astype("complex64"), "variable B04 is complex64, want integers"),
    "text": (lambda ds: ds.astype(str), "variable B04 is <U"),
    "boolean band": (
        lambda ds: ds.assign(B04=ds["B04"] > 3),
        "variable B04 is bool, want integers",
    ),
    "both masks": (
        lambda ds: ds.assign(SCL=ds["B04"].astype("uint8"), mask=ds["B04"] > 3),
        "both SCL and mask",
    ),
    "fuzzy mask": (
        lambda ds: ds.assign(mask=ds["B04"] / 2),
        "variable mask holds 0.5, want integers; mask is boolean",
    ),
    "mask values": (lambda ds: ds.assign(mask=ds["B04"]), "variable mask holds 2, want 0 to 1"),
    "SCL values": (
        lambda ds: ds.assign(SCL=ds["B04"] + 250),
        "variable SCL holds 256, want 0 to 255",
    ),
    "no bands": (lambda ds: ds[["time"]], "no band; it has no variables"),
    "only a mask": (lambda ds: ds[["B04"]].rename(B04="SCL"), "no band; it has SCL"),
    "static": (
        lambda ds: ds.assign(dem=ds["B04"].isel(time=0, drop=True)),
        r"variable dem has dims \(y, x\), want \(time, y, x\).*ds.drop_vars\('dem'\)",
    ),
    "band dim": (
        lambda ds: ds[["B04", "B08"]].to_dataarray("band").to_dataset(name="dn"),
        r"variable dn has dims \(band, time, y, x\).*to_dataset\('band'\)",
    ),
    "lat lon": (
        lambda ds: ds.rename(y="lat", x="lon"),
        r"variable B04 has dims \(time, lat, lon\).*rename\(lat='y', lon='x'\)",
    ),
    "crossed suffixes": (
        lambda ds: ds.assign(B05=ds["B04"].rename(x="x60").drop_vars("x60")),
        r"variable B05 has dims \(time, y, x60\)",
    ),
    "no time": (lambda ds: ds.isel(time=0, drop=True), r"no dim time.*expand_dims\(time=\["),
    "time as scalar": (lambda ds: ds.isel(time=0), r"no dim time.*expand_dims\('time'\)"),
    "an array": (lambda ds: ds["B04"], "want an xarray.Dataset.*got DataArray"),
    "no dates": (lambda ds: ds.isel(time=slice(0, 0)), "no dates"),
    "time without coordinates": (lambda ds: ds.drop_vars("time"), "datetime64.*no coordinate"),
    "time as numbers": (lambda ds: ds.assign_coords(time=[1, 2, 3]), "datetime64.*it has int64"),
    "NaT": (
        lambda ds: ds.assign_coords(time=np.array(["2024-01-01", "NaT", "2025"], "M8[s]")),
        "time 1 is NaT",
    ),
    "twice": (lambda ds: ds.isel(time=[0, 1, 1, 2]), "time 2024-05-06T10:30:31 stands twice"),
    "twice in a second": (
        lambda ds: ds.assign_coords(time=TIMES[0] + np.array([0, 1, 10**9], "m8[ns]")),
        "time 2024-05-01T00:00:00 stands twice",
    ),
    "empty": (lambda ds: ds.isel(y=slice(0, 0)), "variable B04 is empty"),
    "coordinates twice": (
        lambda ds: ds.assign_coords(x=[1.0, 2, 2, 3, 4, 5]),
        "coordinate x is not strictly rising or falling",
    ),
    "coordinates NaN": (
        lambda ds: ds.assign_coords(x=[1.0, 2, np.nan, 3, 4, 5]),
        "coordinate x is not strictly rising or falling",
    ),
    "coordinates text": (
        lambda ds: ds.assign_coords(x=list("abcdef")),
        "coordinate x is <U1, want numbers",
    ),
    "mask elsewhere": (
        lambda ds: ds.assign(SCL=ds["B04"].astype("uint8").rename(y="yq", x="xq")).assign_coords(
            yq=np.arange(4.0), xq=np.arange(6.0)
        ),
        "SCL lies off the ground of B04: its yq runs from 0 to 3",
    ),
    "no CRS": (
        lambda ds: ds.assign_coords(spatial_ref=((), 0, {"crs_wkt": "PROJCS[nonsense"})),
        "spatial_ref holds 'PROJCS.nonsense', which is no CRS",
    ),
    "number as name": (lambda ds: ds.assign({7: ds["B04"]}), "variable 7 is not named by a string"),
    "other axis": (
        lambda ds: ds.assign(srf=("wavelength", np.zeros(5))),
        r"variable srf has dims \(wavelength\)",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_rule_is_told_in_one_line(broken: str) -> None:
    change, said = BROKEN[broken]
    with pytest.raises(CorruptInputError, match=said) as caught:
        series_from_dataset(change(small()))
    assert "\n" not in str(caught.value)
