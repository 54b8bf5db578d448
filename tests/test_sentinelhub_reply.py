"""Replies of the Process API that are cut, damaged or hostile; and the script that makes them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from servers.places import TILE, area
from servers.sentinelhub_answers import feature_of
from servers.sentinelhub_scenes import scene

from stvc.source.sentinelhub.catalog import overpasses, product_of
from stvc.source.sentinelhub.process import processing_units, script
from stvc.source.sentinelhub.reply import DamagedReplyError, Pixels, read_reply

SHAPE = (9, 7)
CONTENT = {"bands": 2, "mask": 1, "dataMask": 1}
_rng = np.random.default_rng(5)
BANDS = _rng.integers(1, 10_000, (*SHAPE, 2)).astype(np.uint16)
MASK = _rng.integers(0, 12, SHAPE).astype(np.uint8)
IMAGED = (_rng.random(SHAPE) > 0.3).astype(np.uint8)


def tiff(pixels: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    plan = {"compression": "deflate", "photometric": "minisblack", "metadata": None}
    if pixels.ndim == 3:
        plan["planarconfig"] = "contig"
    tifffile.imwrite(file, pixels, **{**plan, **options})
    return file.getvalue()


def tar(files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def files(**changes: bytes) -> dict[str, bytes]:
    whole = {"bands": tiff(BANDS), "mask": tiff(MASK), "dataMask": tiff(IMAGED)} | changes
    return {f"{name}.tif": content for name, content in whole.items()}


def read(body: bytes) -> Pixels:
    return read_reply(body, CONTENT, SHAPE)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": None},
        {"rowsperstrip": 2},
        {"rowsperstrip": 4, "compression": None},
        {"tile": (16, 16)},
        {"predictor": 2},
        {"byteorder": ">"},
        {"bigtiff": True},
    ],
)
def test_tiffs_of_every_make(options: dict[str, Any]) -> None:
    told = json.dumps({"products": ["b.SAFE", "a", "", 5]}).encode()
    body = tar({**files(bands=tiff(BANDS, **options)), "userdata.json": told})
    pixels = read(body)
    seen = IMAGED != 0
    np.testing.assert_array_equal(pixels.bands, np.where(seen, np.moveaxis(BANDS, -1, 0), 0))
    np.testing.assert_array_equal(pixels.mask[0], MASK)
    np.testing.assert_array_equal(pixels.imaged, seen)
    assert pixels.products == ("a", "b")


def test_bands_apart() -> None:
    apart = tiff(np.moveaxis(BANDS, -1, 0), planarconfig="separate")
    np.testing.assert_array_equal(read(tar(files(bands=apart))).bands, read(tar(files())).bands)


def test_no_cut_goes_unnoticed() -> None:
    whole = tar(files())
    end = len(whole.rstrip(b"\0"))
    for length in range(end):
        with pytest.raises(DamagedReplyError):
            read(whole[:length])
    # A padded end is the tar's own, and no pixels.
    np.testing.assert_array_equal(read(whole[: end + 600]).bands, read(whole).bands)


@pytest.mark.parametrize("compression", ["deflate", None])
def test_no_cut_of_a_single_image_goes_unnoticed(compression: str | None) -> None:
    whole = tiff(BANDS, compression=compression)
    for length in range(len(whole)):
        with pytest.raises(DamagedReplyError):
            read(tar(files(bands=whole[:length])))


@given(st.integers(0, 10**9), st.integers(1, 255))
def test_flipped_bytes_never_crash(place: int, flip: int) -> None:
    body = bytearray(tar(files()))
    body[place % len(body)] ^= flip
    try:
        pixels = read(bytes(body))
    except DamagedReplyError:
        return
    assert pixels.bands.shape == (2, *SHAPE) and pixels.mask.shape == (1, *SHAPE)


@given(st.binary(max_size=2000))
def test_noise_never_crashes(body: bytes) -> None:
    with pytest.raises(DamagedReplyError):
        read(body)


def bomb() -> bytes:
    """A TIFF that says 9 by 7 pixels, and inflates to 200 MB."""
    plain = tiff(BANDS)
    with tifffile.TiffFile(io.BytesIO(plain)) as opened:
        page = opened.pages.first
        tag = page.tags["StripByteCounts"]
        offset_tag = page.tags["StripOffsets"]
        order = opened.byteorder
        inflating = zlib.compress(b"\0" * 200_000_000, 9)
        body = bytearray(plain) + inflating
        for where, value, kind in (
            (tag, len(inflating), tag.dtype),
            (offset_tag, len(plain), offset_tag.dtype),
        ):
            size = {3: 2, 4: 4, 16: 8}[int(kind)]
            at = where.valueoffset
            body[at : at + size] = value.to_bytes(size, "little" if order == "<" else "big")
    return bytes(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no archive"),
        (b"<html>down</html>" * 100, "no archive"),
        (tar({}), "bands.tif is missing"),
        (tar({"bands.tif": tiff(BANDS)}), "mask.tif is missing"),
        (tar(files(), kind=tarfile.SYMTYPE), "missing"),
        (tar({f"../../{n}": c for n, c in files().items()}), "missing"),
        (tar({f"{n}": b"" for n in range(40)}), "few images"),
        (tar(files(bands=tiff(BANDS[:5]))), "want .9, 7, 2. of uint16"),
        (tar(files(bands=tiff(BANDS[..., 0]))), "want .9, 7, 2."),
        (tar(files(bands=tiff(BANDS.astype(np.float32)))), "of float32"),
        (tar(files(mask=tiff(MASK.astype(np.uint16)))), "of uint16, want"),
        (tar(files(bands=b"II*\0" + b"\xff" * 64)), "bands.tif cannot be decoded"),
        (tar(files(mask=tiff(MASK, compression="zstd"))), "compression 50000"),
        (tar(files(bands=bomb())), "more than it holds"),
    ],
)
def test_replies_of_no_use(body: bytes, message: str) -> None:
    with pytest.raises(DamagedReplyError, match=message):
        read(body)


@pytest.mark.parametrize("told", [b"", b"{", b"[]", b'{"products": 5}', b"[" * 100_000])
def test_user_data_is_a_courtesy(told: bytes) -> None:
    assert read(tar({**files(), "userdata.json": told})).products == ()


def test_processing_units_by_the_published_rules() -> None:
    assert processing_units(512, 512, 3) == pytest.approx(1)
    assert processing_units(1024, 512, 6, 2) == pytest.approx(8)
    assert processing_units(10, 10, 3) == pytest.approx(0.01)
    assert processing_units(10, 10, 0) == pytest.approx(0.001)


RUN = """
const text = require("fs").readFileSync(0, "utf8");
eval(text + "; globalThis.api = {setup, evaluatePixel, updateOutputMetadata," +
  " pre: typeof preProcessScenes === 'function' ? preProcessScenes : null};");
const tile = (productId) => ({ productId: productId });
const pixel = (mask, at) => ({ B02: at, B03: at + 1, SCL: at + 2, dataMask: mask });
const out = { setup: api.setup() };
out.simple = api.evaluatePixel(pixel(1, 7));
out.empty = api.evaluatePixel(pixel(0, 7));
out.tiles = api.evaluatePixel([pixel(0, 1), pixel(1, 20), pixel(1, 40)]);
out.none = api.evaluatePixel([]);
const known = [tile("other"), tile(process.argv[1]), tile(process.argv[2] + ".SAFE"), tile(null)];
if (api.pre) {
  out.kept = api.pre({ scenes: { tiles: known } }).scenes.tiles.map((t) => t.productId);
  out.all = api.pre({ scenes: { tiles: [tile("x"), {}] } }).scenes.tiles.length;
}
const told = {};
api.updateOutputMetadata({ tiles: known }, {}, told);
out.user = told.userData;
api.updateOutputMetadata({}, {}, {});
console.log(JSON.stringify(out));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_script_runs() -> None:
    half = (TILE[0], TILE[1], 650_200.0, TILE[3])
    scenes = [
        scene("2023-05-01", TILE),
        scene("2023-05-01", half, tile="31UES"),
        scene("2023-05-01", TILE, baseline="0400"),
    ]
    (contested,) = overpasses([product_of(feature_of(s)) for s in scenes], area().geometry)
    (simple,) = overpasses([product_of(feature_of(s)) for s in scenes[:2]], area().geometry)
    wanted = [product.id for product in contested.products]

    def run(text: str) -> dict[str, Any]:
        told = subprocess.run(
            ["node", "-e", RUN, *wanted], input=text, capture_output=True, text=True, check=True
        ).stdout
        return dict(json.loads(told))

    plain = run(script(["B02", "B03"], ["SCL"], simple))
    assert plain["setup"]["mosaicking"] == "SIMPLE" and "kept" not in plain
    assert plain["setup"]["input"] == [{"bands": ["B02", "B03", "SCL", "dataMask"], "units": "DN"}]
    assert {o["id"]: (o["bands"], o["sampleType"]) for o in plain["setup"]["output"]} == {
        "bands": (2, "UINT16"),
        "mask": (1, "UINT8"),
        "dataMask": (1, "UINT8"),
    }
    assert plain["simple"] == {"dataMask": [1], "bands": [7, 8], "mask": [9]}
    assert plain["empty"] == plain["none"] == {"dataMask": [0], "bands": [0, 0], "mask": [0]}
    both = run(script(["B02"], [], contested))
    assert both["setup"]["mosaicking"] == "TILE"
    assert both["tiles"] == {"dataMask": [1], "bands": [20]}
    # Other versions are left out, in our order; if none is known by name, all are kept.
    assert both["kept"] == [wanted[0], wanted[1] + ".SAFE"] and both["all"] == 2
    assert both["user"]["products"][1] == wanted[0]
    assert [o["id"] for o in both["setup"]["output"]] == ["dataMask", "bands"]


def test_scripts_are_kept_short(tmp_path: Path) -> None:
    many = [scene("2023-05-01", TILE, tile=f"31U{i:02d}") for i in range(20)]
    (frame,) = overpasses([product_of(feature_of(s)) for s in many], area().geometry)
    assert len(script(["B02"], ["SCL"], frame)) < 4000
