"""STAC: archives as a static catalog that other tools can search and read."""

from __future__ import annotations

from stvc.stac.catalog import CatalogReport, write_catalog

__all__ = ["CatalogReport", "write_catalog"]
