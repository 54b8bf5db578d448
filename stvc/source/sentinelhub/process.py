"""One request to the Process API: the script it runs there, what it costs, what comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from string import Template
from typing import Any

from sentinelhub.api.process import SentinelHubRequest
from sentinelhub.config import SHConfig
from sentinelhub.constants import CRS, MimeType
from sentinelhub.data_collections import DataCollection
from sentinelhub.download.models import DownloadRequest
from sentinelhub.geometry import BBox

from stvc.grid import GridSpec
from stvc.source.sentinelhub.catalog import Overpass

_SCRIPT = Template("""//VERSION=3
// Raw digital numbers of one overpass. Where its products overlap, the first one with data counts.
const BANDS = $bands;
const MASK = $mask;
const WANTED = $wanted;

function setup() {
  const output = [{ id: "dataMask", bands: 1, sampleType: "UINT8" }];
  if (BANDS.length) output.push({ id: "bands", bands: BANDS.length, sampleType: "UINT16" });
  if (MASK.length) output.push({ id: "mask", bands: MASK.length, sampleType: "UINT8" });
  return {
    input: [{ bands: [...BANDS, ...MASK, "dataMask"], units: "DN" }],
    output: output,
    mosaicking: "$mosaicking"
  };
}
$choose
function evaluatePixel(samples) {
  const list = Array.isArray(samples) ? samples : [samples];
  const seen = list.find((sample) => sample && sample.dataMask === 1);
  const value = (name) => (seen ? seen[name] : 0);
  const out = { dataMask: [seen ? 1 : 0] };
  if (BANDS.length) out.bands = BANDS.map(value);
  if (MASK.length) out.mask = MASK.map(value);
  return out;
}

function updateOutputMetadata(scenes, inputMetadata, outputMetadata) {
  const tiles = scenes && scenes.tiles ? Array.from(scenes.tiles) : [];
  outputMetadata.userData = { products: tiles.map((tile) => String(tile.productId || "")) };
}
""")

_CHOOSE = """
function preProcessScenes(collections) {
  // Leave other satellites and outdated versions out. If none is recognized, all are kept.
  const place = (tile) => WANTED.indexOf(String(tile.productId || "").replace(".SAFE", ""));
  const kept = collections.scenes.tiles.filter((tile) => place(tile) >= 0);
  kept.sort((one, other) => place(one) - place(other));
  if (kept.length) collections.scenes.tiles = kept;
  return collections;
}
"""


@dataclass(frozen=True)
class Tile:
    """What one request asks for."""

    spec: GridSpec
    """Pixels, at most 2500 a side."""
    epsg: int
    """CRS of `spec`."""
    bands: tuple[str, ...]
    """Bands of one native grid; may be ()."""
    mask: tuple[str, ...]
    """``("SCL",)``, ``("CLP",)`` or ()."""

    @property
    def outputs(self) -> dict[str, int]:
        """Images that the reply holds, with their channels."""
        images = {"bands": len(self.bands), "mask": len(self.mask), "dataMask": 1}
        return {name: channels for name, channels in images.items() if channels}

    @property
    def max_bytes(self) -> int:
        """More than a reply can have: uncompressed pixels, and something for headers."""
        depth = 2 * len(self.bands) + len(self.mask) + 1
        return self.spec.height * self.spec.width * depth * 5 // 4 + 1_000_000


def collection(config: SHConfig) -> DataCollection:
    """Return Sentinel-2 L2A as the configured service has it; the only place that makes it.

    The collection that the package ships carries the address of the main service, which overrides
    the configured one: requests, and the token with them, would go there.
    """
    shipped = DataCollection.SENTINEL2_L2A
    if shipped.service_url == config.sh_base_url:
        return shipped
    return shipped.define_from(f"stvc-s2l2a-{config.sh_base_url}", service_url=config.sh_base_url)


def processing_units(height: int, width: int, input_bands: int, samples: int = 1) -> float:
    """Estimate what a request costs.

    Parameters
    ----------
    height, width : int
        Pixels.
    input_bands : int
        Bands that the script reads, ``dataMask`` not counted.
    samples : int
        Products per pixel that it reads.

    Returns
    -------
    float
        Processing units, by the rules that Sentinel Hub publishes for formats of up to 16 bits.

    References
    ----------
    https://docs.sentinel-hub.com/api/latest/api/overview/processing-unit/
    """
    area = max(height * width / 512**2, 0.01)
    return max(area * input_bands / 3 * samples, 0.001)


def tile_cost(tile: Tile, overpass: Overpass | None = None) -> float:
    """Estimate the processing units of a tile; all products count where they are contested."""
    samples = len(overpass.products) if overpass is not None and overpass.contested else 1
    bands = len(tile.bands) + len(tile.mask)
    return processing_units(tile.spec.height, tile.spec.width, bands, samples)


def script(bands: Sequence[str], mask: Sequence[str], overpass: Overpass) -> str:
    """Write the evalscript for an overpass."""
    return _SCRIPT.substitute(
        bands=json.dumps(list(bands)),
        mask=json.dumps(list(mask)),
        wanted=json.dumps([product.id for product in overpass.products]),
        # One sample a pixel is the cheap way; telling products apart needs all of them.
        mosaicking="TILE" if overpass.contested else "SIMPLE",
        choose=_CHOOSE if overpass.contested else "",
    )


def process_request(
    tile: Tile, overpass: Overpass, config: SHConfig, *, harmonized: bool
) -> DownloadRequest:
    """Make the request for a tile of an overpass.

    Parameters
    ----------
    tile : Tile
        Pixels, bands and mask.
    overpass : Overpass
        Its seconds are the time range, widened by one on both sides: catalogs cut fractions off.
    config : SHConfig
        With the service's address.
    harmonized : bool
        Whether the service takes the baseline's offset off.

    Returns
    -------
    DownloadRequest
    """
    first, last = overpass.span
    responses: list[dict[str, Any]] = [
        SentinelHubRequest.output_response(name, MimeType.TIFF) for name in tile.outputs
    ]
    responses.append(SentinelHubRequest.output_response("userdata", MimeType.JSON))
    request = SentinelHubRequest(
        evalscript=script(tile.bands, tile.mask, overpass),
        input_data=[
            SentinelHubRequest.input_data(
                collection(config),
                time_interval=(first - timedelta(seconds=1), last + timedelta(seconds=1)),
                other_args={"processing": {"harmonizeValues": harmonized}},
            )
        ],
        responses=responses,
        bbox=BBox(tile.spec.bounds, crs=CRS(tile.epsg)),
        size=(tile.spec.width, tile.spec.height),
        config=config,
    )
    download = request.download_list[0]
    download.extra_params = {"max_bytes": tile.max_bytes, "pu": tile_cost(tile, overpass)}
    return download
