"""STAC fields of an archive: bands, projection, footprint, and where the pixels come from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvc.bands import find_band
from stvc.export.cf import scale_and_offset
from stvc.export.layers import Layer

if TYPE_CHECKING:
    import xarray as xr

    from stvc.header import OpenPlace

Fields = dict[str, Any]

EXTENSIONS = {
    "proj": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "eo": "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "file": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "processing": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "classification": "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "cube": "https://stac-extensions.github.io/datacube/v2.2.0/schema.json",
    "xarray": "https://stac-extensions.github.io/xarray-assets/v1.0.0/schema.json",
}
"""Field prefixes and the schemas that define them."""

_SHA256 = "1220"
# ^ Multihash: function 0x12, 0x20 = 32 bytes. https://github.com/multiformats/multihash

_EDGE_POINTS = 10
_DIGITS = 7
# ^ of a degree: a centimeter.
_STRAIGHT = 1e-6
# ^ degrees, a tenth of a meter

_SENTINEL2 = re.compile(r"(S2[A-D])_MSI(L1C|L2A)_")


def extensions_of(fields: Mapping[str, Any]) -> list[str]:
    """List the schemas that define the prefixed fields in a STAC object, at any depth."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            found.update(str(key).partition(":")[0] for key in value if ":" in str(key))
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(fields)
    return [uri for prefix, uri in EXTENSIONS.items() if prefix in found]


def file_fields(path: Path) -> Fields:
    """Give a file's size and checksum."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file:size": path.stat().st_size, "file:checksum": _SHA256 + digest}


def band_fields(ds: xr.Dataset, layer: Layer, *, metric: bool) -> list[Fields]:
    """Describe the bands of a layer, as STAC 1.1 has them.

    Parameters
    ----------
    ds : xarray.Dataset
        With the layer's variables; only their attributes are read.
    layer : Layer
    metric : bool
        Whether the CRS counts in meters.
    """
    out = []
    for name in layer.names:
        fields: Fields = {"name": name}
        if layer.is_mask:
            fields |= {"data_type": "uint8", **_class_fields(name)}
        else:
            scale, offset = scale_and_offset(ds[name].attrs, name)
            fields |= {
                "data_type": "uint16",
                "nodata": 0,
                "raster:scale": scale,
                "raster:offset": offset,
            }
            band = find_band(name)
            if band is not None:
                fields |= {
                    "unit": "1",
                    "eo:common_name": band.common_name,
                    "eo:center_wavelength": round(band.center_wavelength / 1000, 4),
                }
        if metric:
            size = abs(layer.transform(ds)[0])
            fields |= {"gsd": size, "raster:spatial_resolution": size}
        out.append(fields)
    return out


def _class_fields(name: str) -> Fields:
    if name == "mask":
        classes = [("clear", "ground is seen"), ("hidden", "cloud, shadow or nodata")]
    elif name == "SCL":
        from stvc.masks import SCL_MEANINGS

        classes = [(word, word.replace("_", " ")) for word in SCL_MEANINGS]
    else:
        return {}
    return {
        "classification:classes": [
            {"value": value, "name": word, "description": text}
            for value, (word, text) in enumerate(classes)
        ]
    }


def grid_fields(ds: xr.Dataset, layer: Layer) -> Fields:
    """Give shape and place of a layer's pixels."""
    dx, _, left, _, dy, top = layer.transform(ds)
    height, width = len(layer.y), len(layer.x)
    return {
        "proj:shape": [height, width],
        "proj:transform": [dx, 0.0, left, 0.0, dy, top],
        "proj:bbox": [left, top + height * dy, left + width * dx, top],
    }


def crs_fields(wkt: str) -> Fields:
    """Name a CRS by its authority's code, or in full if it has none."""
    from pyproj import CRS

    crs = CRS.from_user_input(wkt)
    if crs.is_bound and crs.source_crs is not None:
        crs = crs.source_crs  # GDAL's older WKT adds a shift to WGS84 of its own
    # What a CRS says of itself goes before what PROJ finds that resembles it.
    named = crs.to_json_dict().get("id") or {}
    code = (named["authority"], str(named["code"])) if named else crs.to_authority()
    if code is not None:
        return {"proj:code": ":".join(code)}
    return {"proj:code": None, "proj:wkt2": crs.to_wkt("WKT2_2019")}


def footprint(wkt: str, bounds: Sequence[float]) -> tuple[Fields, list[float]]:
    """Give a rectangle's outline in WGS84, and its bounding box.

    Parameters
    ----------
    wkt : str
        CRS of the bounds.
    bounds : sequence of float
        West, south, east, north.

    Returns
    -------
    dict, list of float
        GeoJSON geometry, split where it crosses the antimeridian; west, south, east, north, where
        west is larger than east then.
    """
    import numpy as np
    import shapely
    from pyproj import Transformer

    turn = Transformer.from_crs(wkt, "EPSG:4326", always_xy=True)
    west, south, east, north = bounds
    side = max(east - west, north - south) / _EDGE_POINTS
    ring = shapely.get_coordinates(shapely.segmentize(shapely.box(*bounds), side))
    lon, lat = turn.transform(ring[:, 0], ring[:, 1])
    crossing = lon.max() - lon.min() > 180
    lon = np.where(crossing & (lon < 0), lon + 360, lon)
    # A small field's edges are straight: their points on the way say nothing.
    outline = shapely.Polygon(np.stack([lon, lat], 1)).simplify(_STRAIGHT)
    shape = shapely.orient_polygons(shapely.transform(outline, lambda xy: np.round(xy, _DIGITS)))
    box = [float(edge) for edge in shape.bounds]
    if crossing:
        halves = [shapely.box(0, -90, 180, 90), shapely.box(180, -90, 540, 90)]
        near, far = (shape.intersection(half) for half in halves)
        far = shapely.transform(far, lambda xy: xy - [360, 0])
        shape = shapely.orient_polygons(shapely.MultiPolygon([near, far]))
        box[2] -= 360
    return dict(shapely.geometry.mapping(shape)), box


def source_fields(provenance: Mapping[str, Any], info: Mapping[str, Any]) -> Fields:
    """Tell where a date's pixels come from and what was done to them.

    Parameters
    ----------
    provenance : mapping
        The date's record: ``product_id``, ``baseline``, and whatever else its source said.
    info : mapping
        What ``Archive.info()`` returns.
    """
    from stvc import __version__
    from stvc.versions import BASELINE_KEYS, PRODUCT_KEYS

    def first(keys: Sequence[str]) -> str:
        return next((str(provenance[key]) for key in keys if provenance.get(key)), "")

    products, baseline = first(PRODUCT_KEYS), first(BASELINE_KEYS)
    fields: Fields = {
        "processing:software": {"stvc": __version__},
        "processing:lineage": _lineage(products, info),
    }
    if baseline:
        fields["processing:version"] = baseline
    known = _SENTINEL2.search(products)
    if known is not None:
        fields |= {
            "platform": f"sentinel-{known[1][1:].lower()}",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "processing:level": known[2],
            "s2:product_uri": products,
        }
    private = {k: v for k, v in provenance.items() if not k.startswith("__") and v is not None}
    return fields | {f"stvc:{key}": value for key, value in private.items()}


def _lineage(products: str, info: Mapping[str, Any]) -> str:
    settings = info["settings"]
    if settings.get("lossless"):
        how = "without loss"
    elif settings.get("max_error") is not None:
        how = f"with every clear pixel within {settings['max_error']} DN"
    else:
        how = "with loss"
    what = f" of {products}" if products else ""
    return f"Pixels{what} coded {how} by stvc, entropy model {info['model']}."


def cube_fields(
    opened: OpenPlace, layers: Sequence[Layer], ds: xr.Dataset, times: Sequence[str]
) -> Fields:
    """Describe the series as a data cube."""
    named = crs_fields(opened.crs) if opened.crs else {}
    code = str(named.get("proj:code") or "")
    epsg = code.removeprefix("EPSG:")
    system: Any = int(epsg) if epsg.isdecimal() else named.get("proj:wkt2", code)
    dims: Fields = {
        "time": {"type": "temporal", "extent": [times[0], times[-1]], "values": list(times)}
    }
    variables: Fields = {}
    for layer in layers:
        plane = [str(dim) for dim in ds[layer.names[0]].dims]
        dx, _, left, _, dy, top = layer.transform(ds)
        height, width = len(layer.y), len(layer.x)
        extents = ([top + height * dy, top], [left, left + width * dx])
        for dim, axis, extent, step in zip(plane[1:], "yx", extents, (dy, dx), strict=True):
            dims[dim] = {"type": "spatial", "axis": axis, "extent": extent, "step": step}
            if system:
                dims[dim]["reference_system"] = system
        for name in layer.names:
            variables[name] = {
                "dimensions": plane,
                "type": "auxiliary" if layer.is_mask else "data",
            }
    return {"cube:dimensions": dims, "cube:variables": variables}
