"""The report in a real browser: by mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
from browser import DESKTOP, PHONE, Visit, started, visit
from PIL import Image
from pyproj import Transformer

import stvc
from stvc.dataset import series_from_dataset
from stvc.pictures.colors import colorize
from stvc.report.page import write_report

DATES = 8
EVIL = '</script><script>document.title="broken"</script><img src=x onerror=alert(1)>'
CORNERS = ((40, 30), (430, 60), (450, 380), (60, 350), (40, 30))
"""Of the field, in m east and south of the grid's corner."""


def place() -> Any:
    groups = {"": scenes.TEN, "20": ("B8A", "B11")}
    ds = scenes.dataset(DATES, (40, 48), groups=groups, mask="SCL", cloudy=(1, 3, 6), crs=True)
    east, south = np.array(CORNERS).T
    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    ring = np.stack(to_degrees.transform(scenes.WEST + east, scenes.NORTH - south), 1).tolist()
    area = json.dumps({"type": "Polygon", "coordinates": [ring]})
    ds.attrs |= {"aoi_name": "Test field <b>&amp;</b>", "aoi": area, "note": EVIL}
    ds["product_id"] = ("time", np.array([f"S2A_{k}" for k in range(DATES)], object))
    return ds


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def report(folder: Path) -> Path:
    ds = place()
    stvc.encode(ds, folder / "field.stvc", psnr=46)
    path = folder / "report.html"
    write_report(folder / "field.stvc", path, original=series_from_dataset(ds))
    return path


@pytest.fixture(scope="module")
def decoded(report: Path) -> Any:
    with stvc.open(report.with_name("field.stvc")) as archive:
        return archive.to_xarray()


@pytest.fixture
def desk(chrome: Any, report: Path) -> Iterator[Visit]:
    with visit(chrome, report) as seen:
        shown(seen.page, "true-color")
        yield seen
        # whatever a test does: no error, no request but for the page itself
        assert seen.problems == []
        assert seen.requests == [report.as_uri()]


def shown(page: Any, layer: str, date: int | None = None) -> None:
    """Wait until the map shows a layer, and a date if given."""
    wanted = f"{layer}:" if date is None else f"{layer}:{date}"
    page.wait_for_function(
        "w => (document.getElementById('map').dataset.shown || '').startsWith(w)", arg=wanted
    )


def date_of(page: Any) -> str:
    return str(page.inner_text("#date"))


def canvas_of(page: Any) -> np.ndarray:
    """Colors at the middles of the map's pixels, (40, 48, 3)."""
    flat = page.evaluate(
        """() => { const c = document.getElementById('map'), n = c.width / 48, out = [];
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        for (let y = 0; y < 40; y++) for (let x = 0; x < 48; x++) {
          const k = 4 * (Math.floor((y + .5) * n) * c.width + Math.floor((x + .5) * n));
          out.push(d[k], d[k + 1], d[k + 2]); }
        return out; }"""
    )
    return np.array(flat, np.uint8).reshape(40, 48, 3)


CHANGED = """() => { const c = document.getElementById('map'), n = c.width / 48;
  const now = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  const out = new Array(40 * 48).fill(false);
  if (window.before) for (let k = 0; k < now.length; k += 4) {
    if (now[k] === before[k] && now[k + 1] === before[k + 1]) continue;
    const p = k / 4, y = Math.floor(Math.floor(p / c.width) / n), x = Math.floor((p % c.width) / n);
    out[y * 48 + x] = true; }
  window.before = now;
  return out; }"""
"""Which of the map's pixels look different since this was last asked."""


def test_slider_moves_the_date(desk: Visit) -> None:
    page = desk.page
    page.fill("#slider", "0")
    shown(page, "true-color", 0)
    assert date_of(page) == "2021-03-04T10:40:21"
    before = canvas_of(page)
    page.focus("#slider")
    page.keyboard.press("ArrowRight")
    shown(page, "true-color", 1)
    assert date_of(page) == "2021-03-09T10:40:21"
    assert (canvas_of(page) != before).any()
    assert "2021-03-09" in page.get_attribute("#slider", "aria-valuetext")
    assert "% clear" in page.inner_text("#state")
    page.keyboard.press("End")
    shown(page, "true-color", DATES - 1)
    page.click("#previous")
    shown(page, "true-color", DATES - 2)


def test_every_layer_can_be_switched_to(desk: Visit, decoded: Any) -> None:
    page = desk.page
    page.fill("#slider", "2")
    layers = page.eval_on_selector_all("#layers input", "all => all.map(i => i.value)")
    assert layers == ["true-color", "original", "false-color", "ndvi", "mask", "spent", "error"]
    pictures = {}
    for layer in layers:
        page.check(f"#layers input[value='{layer}']", force=True)
        shown(page, layer, 2)
        pictures[layer] = canvas_of(page)
        assert page.is_visible("#legend") == (
            layer not in ("true-color", "original", "false-color")
        )
        assert layer.split("-")[0] in page.get_attribute("#map", "aria-label").lower()
    for one, other in pairwise(layers):
        assert (pictures[one] != pictures[other]).any()
    red, nir = (decoded[b].values[2].astype(float) for b in ("B04", "B08"))
    page.uncheck("#outline")
    page.check("#layers input[value='ndvi']", force=True)
    shown(page, "ndvi", 2)
    page.wait_for_timeout(300)
    wanted = colorize((nir - red) / (nir + red), -0.2, 1.0, "vegetation")
    np.testing.assert_allclose(
        canvas_of(page).astype(int), wanted, atol=12
    )  # 254 steps of -0.5 to 1 on the way


def test_hatch_lies_on_hidden_ground_alone(desk: Visit, decoded: Any) -> None:
    page = desk.page
    page.uncheck("#outline")
    page.fill("#slider", "1")
    shown(page, "true-color", 1)
    page.wait_for_timeout(300)
    page.evaluate(CHANGED)
    page.uncheck("#hatch")
    page.wait_for_timeout(300)
    per_pixel = np.array(page.evaluate(CHANGED)).reshape(40, 48)
    hidden = np.isin(decoded.SCL.values[1], (0, 1, 3, 8, 9, 10))
    assert per_pixel[hidden].mean() > 0.95
    assert not per_pixel[~hidden].any()


def test_everything_works_from_the_keyboard(desk: Visit) -> None:
    page = desk.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "layer"
    ring = page.evaluate("getComputedStyle(document.activeElement.nextElementSibling).outlineStyle")
    assert ring == "solid"
    page.keyboard.press("ArrowRight")
    shown(page, "original")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id"))
    for part in ("previous", "play", "next", "slider", "curve", "bytes", "hatch", "outline"):
        assert part in seen
    page.focus("#curve")
    page.keyboard.press("Home")
    shown(page, "original", 0)
    assert page.is_visible(".chart .tip >> nth=0")
    page.keyboard.press("ArrowUp")
    shown(page, "original", 1)
    assert page.get_attribute("#curve", "aria-valuenow") == "1"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    shown(page, "original", 2)
    page.keyboard.press("4")
    shown(page, "ndvi", 2)
    page.keyboard.press("End")  # not ours: the page scrolls
    assert date_of(page) == "2021-03-14T10:40:21"


def test_the_outline_lies_where_the_field_is(desk: Visit) -> None:
    page = desk.page
    page.check("#layers input[value='error']", force=True)
    shown(page, "error")
    page.wait_for_timeout(300)
    page.evaluate(CHANGED)
    page.uncheck("#outline")
    page.wait_for_timeout(300)
    lined = np.array(page.evaluate(CHANGED)).reshape(40, 48)
    for (x0, y0), (x1, y1) in pairwise(CORNERS):
        for share in np.linspace(0, 1, 30):
            x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            near = lined[
                max(0, int(y / 10) - 1) : int(y / 10) + 2, int(x / 10) - 1 : int(x / 10) + 2
            ]
            assert near.any()
    assert not lined[10:30, 10:38].any()


def test_play_runs_to_the_end_and_can_be_stopped(desk: Visit) -> None:
    page = desk.page
    page.fill("#slider", str(DATES - 3))
    page.click("#play")
    assert page.get_attribute("#play", "aria-pressed") == "true"
    page.wait_for_function(
        "() => document.getElementById('play').getAttribute('aria-pressed') == 'false'"
    )
    shown(page, "true-color", DATES - 1)
    page.click("#play")  # from the beginning again
    shown(page, "true-color", 1)
    page.click("#play")
    assert page.get_attribute("#play", "aria-label") == "Play"
    stopped = date_of(page)
    page.wait_for_timeout(900)
    assert date_of(page) == stopped


def test_clear_dates_only(desk: Visit) -> None:
    page = desk.page
    page.fill("#slider", "0")
    page.check("#clear-only")
    shares = page.evaluate(
        "JSON.parse(document.getElementById('payload').textContent).dates.map(d => d.clear)"
    )
    wanted = next(k for k in range(1, DATES) if shares[k] >= 0.5)
    page.focus("#slider")
    page.keyboard.press("ArrowRight")
    shown(page, "true-color", wanted)


def test_charts_answer_to_the_mouse(desk: Visit) -> None:
    page = desk.page
    box = page.locator("#curve").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.98, box["y"] + 40)
    tip = page.locator(".chart .tip").first
    assert tip.is_visible()
    assert "2021-04-08" in tip.inner_text()
    assert "NDVI" in tip.inner_text()
    page.mouse.click(box["x"] + box["width"] * 0.98, box["y"] + 40)
    shown(page, "true-color", DATES - 1)
    chart = page.locator("#bytes").bounding_box()
    page.mouse.click(chart["x"] + 55, chart["y"] + 40)
    shown(page, "true-color", 0)
    points = page.locator("#curve .point:not(.original)").count()
    assert points + page.locator("#curve .clouded").count() == DATES
    assert page.locator("#bytes .bar").count() == DATES


def test_a_pixel_tells_its_value_and_its_curve(desk: Visit, decoded: Any) -> None:
    page = desk.page
    page.fill("#slider", "2")
    page.check("#layers input[value='ndvi']", force=True)
    shown(page, "ndvi", 2)
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    at = (box["x"] + (10.5 / 48) * box["width"], box["y"] + (20.5 / 40) * box["height"])
    page.mouse.move(*at)
    page.wait_for_selector("#readout:not([hidden])")
    told = page.inner_text("#readout")
    assert "row 21, column 11" in told
    red, nir = (float(decoded[b].values[2, 20, 10]) for b in ("B04", "B08"))
    assert float(told.split()[0]) == pytest.approx((nir - red) / (nir + red), abs=0.011)
    page.mouse.click(*at)
    page.wait_for_selector("#curve .point.pixel")
    assert page.is_visible(".key-pixel")
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('#curve .point.pixel')")


def test_the_table_of_dates_leads_to_the_map(desk: Visit) -> None:
    page = desk.page
    page.click("summary")
    page.click("[data-date='3']")
    shown(page, "true-color", 3)
    assert page.inner_text("#dates tr.chosen").startswith("2021-03-19")
    assert "S2A_3" in page.inner_text("#dates tr.chosen")


def test_user_text_is_text(desk: Visit) -> None:
    page = desk.page
    assert page.inner_text("h1") == "Test field <b>&amp;</b>"
    assert page.title().startswith("Test field <b>&amp;</b>")
    assert "onerror=alert" in page.inner_text("main")
    assert page.locator("img").count() == 0
    assert page.evaluate("document.scripts.length") == 2


CONTRAST = """() => {
  const level = (rgb) => { const [r, g, b] = rgb.match(/[\\d.]+/g).map(Number).map((v) => {
    v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c) && c !== 'transparent') return c; }
    return 'rgb(255, 255, 255)'; };
  const worst = [];
  for (const e of document.querySelectorAll('body *')) {
    const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!text || !e.checkVisibility() || e.closest('script, svg')) continue;
    const [a, b] = [level(getComputedStyle(e).color), level(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) worst.push([ratio.toFixed(2), e.tagName, e.className, e.textContent.trim()]);
  }
  return worst; }"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "device"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_pages_fit_and_are_legible(
    name: str, device: dict[str, Any], scheme: str, chrome: Any, report: Path, tmp_path: Path
) -> None:
    with visit(chrome, report, color_scheme=scheme, **device) as seen:
        page = seen.page
        shown(page, "true-color")
        page.click("summary")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(CONTRAST) == []
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = sum(int(v) for v in light.strip("rgb()").split(",")) < 150
        assert dark == (scheme == "dark")
        for part in ("#previous", "#play", "#next"):
            box = page.locator(part).bounding_box()
            assert min(box["width"], box["height"]) >= 44  # a finger's width
        map_box, slider = (page.locator(q).bounding_box() for q in ("#map", "#slider"))
        below = slider["y"] > map_box["y"] + map_box["height"]
        assert below == (name == "phone")
        page.click("summary")
        page.evaluate("scrollTo(0, 0)")
        path = seen.snapshot(tmp_path, f"report-{name}-{scheme}")
        assert seen.problems == []
    with Image.open(path) as picture:
        assert picture.width == device["viewport"]["width"] * device.get("device_scale_factor", 1)


def test_nothing_moves_by_itself_where_motion_is_unwanted(chrome: Any, report: Path) -> None:
    duration = "getComputedStyle(document.querySelector('.switch span')).transitionDuration"
    with visit(chrome, report, reduced_motion="reduce") as seen:
        assert seen.page.evaluate(duration) == "0s"
    with visit(chrome, report, reduced_motion="no-preference") as seen:
        assert seen.page.evaluate(duration) != "0s"


def test_one_date_needs_no_slider(chrome: Any, tmp_path: Path) -> None:
    stvc.encode(scenes.dataset(1, (8, 12), groups={"": ("VV",)}), tmp_path / "x.stvc")
    write_report(tmp_path / "x.stvc", tmp_path / "x.html")
    with visit(chrome, tmp_path / "x.html") as seen:
        shown(seen.page, "true-color", 0)
        assert not seen.page.is_visible("#slider")
        assert not seen.page.is_visible("#play")
        assert seen.page.locator("#bytes .bar").count() == 1
        assert seen.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_card_of_a_notebook_is_legible(
    scheme: str, chrome: Any, report: Path, tmp_path: Path
) -> None:
    with stvc.open(report.with_name("field.stvc")) as archive:
        card = archive._repr_html_()
    page = tmp_path / "card.html"
    ground = "#111" if scheme == "dark" else "#fff"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><meta name=color-scheme content='{scheme}'>"
        f"<link rel=icon href='data:,'><body style='background:{ground}'>{card}",
        encoding="utf-8",
    )
    with visit(chrome, page, color_scheme=scheme, viewport={"width": 900, "height": 700}) as seen:
        assert "Test field" in seen.page.inner_text("body") or "field" in seen.page.inner_text(
            "body"
        )
        assert seen.page.evaluate(CONTRAST) == []
        seen.snapshot(tmp_path, f"card-{scheme}")
        assert seen.problems == []
        assert seen.requests == [page.as_uri()]
