"""SAFE folders as ESA ships them, cut down to what readers look at."""

from __future__ import annotations

from pathlib import Path

from servers.stac_products import GSD, Product, write_raster

_IDS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]


def write_safe(
    product: Product, folder: Path, *, level: str = "L2A", quantification: int = 10_000
) -> Path:
    """Write one product; its offset goes into the metadata from baseline 04.00 on."""
    name = product.name.replace("MSIL2A", f"MSI{level}")
    root = folder / f"{name}.SAFE"
    images = root / "GRANULE" / f"{level}_T{product.tile}" / "IMG_DATA"
    images.mkdir(parents=True)
    for band in product.bands:
        if band == "SCL" and level == "L1C":
            continue
        gsd = GSD[band]
        stem = f"T{product.tile}_{product.stamp}_{band}"
        path = images / f"{stem}.jp2"
        if level == "L2A":
            (images / f"R{gsd}m").mkdir(exist_ok=True)
            path = images / f"R{gsd}m" / f"{stem}_{gsd}m.jp2"
        write_raster(path, product.stored(band), product, gsd, "JP2OpenJPEG")
    (root / f"MTD_MSI{level}.xml").write_text(_product_xml(product, level, name, quantification))
    (images.parent / "MTD_TL.xml").write_text(_tile_xml(product))
    return root


def _product_xml(product: Product, level: str, name: str, quantification: int) -> str:
    tag, unit = ("BOA_ADD_OFFSET", "BOA_") if level == "L2A" else ("RADIO_ADD_OFFSET", "")
    offsets = ""
    if product.offset:
        offsets = "".join(
            f'<{tag} band_id="{index}">{-product.offset}</{tag}>' for index in range(len(_IDS))
        )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product.xsd"><n1:General_Info>
<Product_Info><PRODUCT_START_TIME>{product.day}T{product.clock}.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>{name}.SAFE</PRODUCT_URI><PROCESSING_BASELINE>{product.baseline}</PROCESSING_BASELINE>
<Datatake><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></Datatake></Product_Info>
<Product_Image_Characteristics>
<{unit}QUANTIFICATION_VALUE unit="none">{quantification}</{unit}QUANTIFICATION_VALUE>
<List>{offsets}</List></Product_Image_Characteristics></n1:General_Info></n1:Product>"""


def _tile_xml(product: Product) -> str:
    sizes = "".join(
        f'<Size resolution="{gsd}"><NROWS>{product.side // gsd}</NROWS>'
        f"<NCOLS>{product.side // gsd}</NCOLS></Size>"
        f'<Geoposition resolution="{gsd}"><ULX>{product.left:.0f}</ULX>'
        f"<ULY>{product.top:.0f}</ULY><XDIM>{gsd}</XDIM><YDIM>-{gsd}</YDIM></Geoposition>"
        for gsd in (10, 20, 60)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Tile xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/Tile.xsd"><n1:Geometric_Info>
<Tile_Geocoding><HORIZONTAL_CS_CODE>EPSG:{product.epsg}</HORIZONTAL_CS_CODE>{sizes}
</Tile_Geocoding></n1:Geometric_Info></n1:Tile>"""
