"""Outlines of many fields: GeoJSON feature collections, and tables that geopandas reads."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from stvc.errors import AoiError, ConfigError

MAX_BYTES = 500_000_000
"""Largest file of outlines that is read: some hundred thousand fields."""

_TABLES = (".parquet", ".geoparquet", ".gpkg", ".shp", ".fgb")
_ID = re.compile(r"[^\W_][\w .,@+=()~-]{0,119}")
_INSTALL = "pip install 'stvc[vector]'"


@dataclass(frozen=True)
class Outline:
    """A field's name and shape, not yet checked."""

    id: str
    """Names the field and its archive; for a field that cannot be used, what to call it."""
    geometry: str
    """GeoJSON text."""
    problem: str | None = None
    """Why this field cannot be monitored; the others can."""


def read_outlines(path: Path, id_property: str | None) -> list[Outline]:
    """Read the fields of a file.

    Parameters
    ----------
    path : Path
        GeoJSON, or GeoParquet, GeoPackage, Shapefile or FlatGeobuf (with geopandas installed).
    id_property : str or None
        Property or column that names each field; None = a feature's ``id``, or the property ``id``
        or ``name``. The only feature of a file may go without: it is named after the file.

    Returns
    -------
    list of Outline
        In the order of the file. A feature that cannot be used says why and stops no other.

    Raises
    ------
    ConfigError
        If the file is missing, too large, or nothing that holds features.
    """
    try:
        there = path.is_file()
    except OSError as error:  # such as a name that no file system takes
        raise ConfigError(f"{path}: {error.strerror}; check the key file") from None
    if not there:
        raise ConfigError(f"{path}: no such file of fields; check the key file")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB; split it")
    if path.suffix.lower() in _TABLES:
        features = _table_features(path, id_property)
    else:
        features = _geojson_features(path)
    outlines = [
        _outline(feature, id_property, number) for number, feature in enumerate(features, 1)
    ]
    if not outlines:
        raise ConfigError(f"{path}: holds no field")
    if len(outlines) == 1 and id_property is None and outlines[0].problem is not None:
        return [outline(path.stem, outlines[0].geometry)]
    return outlines


def outline(name: str, geometry: str) -> Outline:
    """Make an outline under a name, which must be fit for a file name.

    Parameters
    ----------
    name : str
        As given by the user.
    geometry : str
        GeoJSON text.

    Returns
    -------
    Outline
        With a problem if the name cannot name a file.
    """
    name = unicodedata.normalize("NFC", name)
    try:
        check_id(name)
    except AoiError as error:
        return Outline(name[:120], geometry, str(error))
    return Outline(name, geometry)


def check_id(name: str) -> None:
    """Refuse a field's id that cannot be a file's name on every system.

    Raises
    ------
    AoiError
        If it is empty, too long, or has characters that lead elsewhere.
    """
    if not _ID.fullmatch(name) or name[-1] in " ." or len(name.encode()) > 200:
        raise AoiError(
            f"field id {name[:60]!r} cannot name a file; use 1 to 120 letters, digits and -_.,@+ "
            "inside, beginning with a letter or digit"
        )


def _outline(feature: Any, id_property: str | None, number: int) -> Outline:
    """Turn a feature into an outline, whatever it is."""
    if not isinstance(feature, Mapping):
        return Outline(f"feature {number}", "", f"feature {number} is no GeoJSON feature")
    geometry = json.dumps(feature.get("geometry"))
    properties = feature.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    if id_property is not None:
        named = properties.get(id_property)
    else:
        named = next(
            (v for v in (feature.get("id"), properties.get("id"), properties.get("name")) if v),
            None,
        )
    if isinstance(named, float) and named.is_integer():
        named = int(named)  # tables with gaps keep whole numbers as floats
    if isinstance(named, bool) or not isinstance(named, str | int):
        asked = f"property {id_property!r}" if id_property else "id"
        return Outline(
            f"feature {number}",
            geometry,
            f"feature {number} has no {asked} that names it; name another with id_property",
        )
    return outline(str(named), geometry)


def _geojson_features(path: Path) -> list[Any]:
    try:
        top = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is no GeoJSON: {error}") from None
    kind = top.get("type") if isinstance(top, dict) else None
    if kind == "FeatureCollection":
        features = top.get("features")
        if not isinstance(features, list):
            raise ConfigError(f"{path}: its FeatureCollection has no list of features")
        return _with_crs(features, top.get("crs"))
    if kind == "Feature":
        return [top]
    if kind in ("Polygon", "MultiPolygon"):
        return [{"type": "Feature", "properties": {}, "geometry": top}]
    raise ConfigError(f"{path}: holds {str(kind)[:40]}, want a FeatureCollection of polygons")


def _with_crs(features: list[Any], crs: Any) -> list[Any]:
    """Hand the collection's ``crs`` on to its geometries: whoever parses them must refuse it."""
    if crs is None:
        return features
    return [
        {**f, "geometry": {**f["geometry"], "crs": crs}}
        if isinstance(f, dict) and isinstance(f.get("geometry"), dict)
        else f
        for f in features
    ]


def _table_features(path: Path, id_property: str | None) -> list[Any]:
    """Read a table's shapes as GeoJSON features with nothing but what may name them."""
    import shapely

    try:
        geopandas: Any = import_module("geopandas")  # it has no types
    except ImportError:
        raise ConfigError(f"{path}: reading it needs geopandas: {_INSTALL}") from None
    parquet = "parquet" in path.suffix.lower()
    try:
        table = geopandas.read_parquet(path) if parquet else geopandas.read_file(path)
    except ImportError as error:
        raise ConfigError(f"{path}: {error}; {_INSTALL}") from None
    except Exception as error:  # pyarrow and GDAL raise whatever they like at a damaged file
        raise ConfigError(f"{path}: cannot be read as a table of fields: {error}") from None
    if table.crs is None:
        raise ConfigError(f"{path}: has no CRS; set one, or write it as GeoJSON in WGS84")
    shapes = table.geometry.to_crs("EPSG:4326")
    columns = [c for c in (id_property, "id", "name") if c is not None and c in table.columns]
    names = {column: table[column].tolist() for column in columns}
    return [
        {
            "properties": {column: values[row] for column, values in names.items()},
            "geometry": None if shape is None else json.loads(shapely.to_geojson(shape)),
        }
        for row, shape in enumerate(shapes)
    ]
