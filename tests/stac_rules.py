"""What the STAC extensions ask for, as JSON schemas of our own: tests reach no network.

pystac brings the schemas of the core. Those of extensions live on the web; these here say, after
their specifications, what the fields that stvc writes must look like, and that no other field of
the same prefix appears.
"""

from __future__ import annotations

from typing import Any

from stvc.stac.fields import EXTENSIONS

Schema = dict[str, Any]

_NUMBER: Schema = {"type": "number"}
_TEXT: Schema = {"type": "string", "minLength": 1}
_CODE: Schema = {"type": "string", "pattern": "^[A-Z]+:[0-9A-Za-z]+$"}


def _list(item: Schema, count: int) -> Schema:
    return {"type": "array", "items": item, "minItems": count, "maxItems": count}


_FIELDS: dict[str, dict[str, Schema]] = {
    "proj": {
        "code": {"anyOf": [_CODE, {"type": "null"}, {"type": "array", "items": _CODE}]},
        "wkt2": {"type": "string", "pattern": "CRS\\["},
        "shape": _list({"type": "integer", "minimum": 1}, 2),
        "transform": _list(_NUMBER, 6),
        "bbox": _list(_NUMBER, 4),
    },
    "raster": {"scale": _NUMBER, "offset": _NUMBER, "spatial_resolution": _NUMBER},
    "eo": {
        "cloud_cover": {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 100},
                {"type": "object", "required": ["minimum", "maximum"]},
            ]
        },
        "common_name": {
            "pattern": "^(coastal|blue|green|red(edge07[158])?|nir(0[89])?|cirrus|swir(16|22))$"
        },
        "center_wavelength": {"type": "number", "exclusiveMinimum": 0, "maximum": 3},
    },
    "file": {
        "checksum": {"type": "string", "pattern": "^1220[a-f0-9]{64}$"},
        "size": {"type": "integer", "minimum": 1},
    },
    "processing": {
        "software": {"type": "object", "additionalProperties": _TEXT},
        "lineage": _TEXT,
        "version": _TEXT,
        "level": {"type": "string", "pattern": "^L[0-4][A-D]?$"},
    },
    "classification": {
        "classes": {
            "type": "array",
            "uniqueItems": True,
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["value", "name"],
                "properties": {
                    "value": {"type": "integer"},
                    "name": {"type": "string", "pattern": "^[0-9A-Za-z-_]+$"},
                    "description": _TEXT,
                },
                "additionalProperties": False,
            },
        }
    },
    "cube": {
        "dimensions": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["type", "extent"],
                "if": {"properties": {"type": {"const": "spatial"}}},
                "then": {"required": ["axis"], "properties": {"axis": {"enum": ["x", "y"]}}},
                "properties": {"extent": _list({"type": ["number", "string"]}, 2)},
            },
        },
        "variables": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["dimensions", "type"],
                "properties": {"type": {"enum": ["data", "auxiliary"]}},
            },
        },
    },
    "xarray": {"open_kwargs": {"type": "object"}},
}


def schemas() -> dict[str, Schema]:
    """Give a schema for each extension by its address, for pystac's schema cache."""
    made = {}
    for prefix, uri in EXTENSIONS.items():
        known = {f"{prefix}:{name}": rule for name, rule in _FIELDS[prefix].items()}
        anywhere: Schema = {
            "$id": f"{uri}#",
            "properties": known,
            "patternProperties": {
                f"^(?!{prefix}:|.*_kwargs$)": {"$ref": "#/definitions/inside"},
            },
            "propertyNames": {"anyOf": [{"not": {"pattern": f"^{prefix}:"}}, {"enum": [*known]}]},
            "definitions": {
                "inside": {
                    "anyOf": [
                        {"type": ["string", "number", "boolean", "null"]},
                        {"type": "array", "items": {"$ref": "#/definitions/inside"}},
                        {"type": "object", "allOf": [{"$ref": "#"}]},
                    ]
                }
            },
        }
        made[uri] = {"$schema": "http://json-schema.org/draft-07/schema#", **anywhere}
    return made
