"""The card that an archive shows in a notebook: well formed, safe, legible, self-contained."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import scenes

import stvc

SHAPE = {"type": "Polygon", "coordinates": [[[4.40, 50.53], [4.41, 50.53], [4.41, 50.54],
                                             [4.40, 50.53]]]}  # fmt: skip


def card(path: Path) -> str:
    with stvc.open(path) as archive:
        return archive._repr_html_()


def tree_of(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html.replace("&nbsp;", " "))


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("card") / "field.stvc"
    groups = {"": ("B04", "B08"), "20": ("B8A",)}
    ds = scenes.dataset(6, (24, 32), groups=groups, mask="SCL", mask_suffix="20", crs=True)
    stvc.encode(ds.assign_attrs(aoi=SHAPE), path)
    return path


def test_the_card_tells_the_facts(field: Path) -> None:
    html = card(field)
    tree = tree_of(html)
    text = " ".join(tree.itertext())
    with stvc.open(field) as archive:
        info = archive.info()
    for told in (
        "6 dates, 2021-03-04T10:40:21 to 2021-03-29T10:40:21",
        f"{info['ratio']:.0f}:1",
        f"{info['psnr_clear']:.1f} dB PSNR",
        f"at most {info['max_error_clear']} DN",
        "24 × 32 px of 10 m",
        "EPSG:32631",
        info["model"],
    ):
        assert told in text, told
    assert len(tree.findall(".//tbody/tr")) == 6
    bars = [r for r in tree.iter("rect") if r.get("fill") == "var(--clear)"]
    heights = [float(bar.get("height", "0")) / 58 for bar in bars]
    np.testing.assert_allclose(heights, [d["clear_share"] for d in info["dates"]], atol=0.01)
    assert tree.find(".//path") is not None


def test_the_card_is_accessible_and_needs_nothing_else(field: Path) -> None:
    html = card(field)
    tree = tree_of(html)
    for picture in tree.iter("svg"):
        assert picture.get("role") == "img"
        assert picture.get("aria-label")
        title = picture.find("title")
        assert title is not None
        assert title.text
    assert tree.find(".//details/summary") is not None
    scroll = tree.find(".//*[@role='region']")
    assert scroll is not None
    assert scroll.get("tabindex") == "0"
    assert all(th.get("scope") for th in tree.iter("th"))
    assert "prefers-color-scheme:dark" in html
    assert not re.search(r"<script|https?://|@import|url\(|\bon\w+=", html)
    # every rule of the style sheet stays inside the card
    style = tree.findtext(".//style") or ""
    for selector in re.findall(r"(?:^|})\s*([^{}@]+){", style):
        assert all(".stvc-card" in part for part in selector.split(",")), selector


def test_what_an_archive_says_is_escaped(tmp_path: Path) -> None:
    ds = scenes.dataset(1, (8, 8), groups={"": ("<script>alert(1)</script>",)})
    path = tmp_path / '<img src=x onerror="alert(1)">.stvc'
    stvc.encode(ds.assign_attrs(aoi='{"type": "<b>"}'), path)
    html = card(path)
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    tree_of(html)


@pytest.mark.parametrize("kind", ["one pixel", "lossless", "odd area", "many dates"])
def test_odd_archives_have_a_card(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.stvc"
    if kind == "one pixel":
        stvc.encode(scenes.dataset(1, (1, 1), groups={"": ("height",)}), path)
        assert "1 date, 2021-03-04" in card(path)
    elif kind == "lossless":
        stvc.encode(scenes.dataset(1, (8, 8), mask="mask", crs=True), path, lossless=True)
        assert "none: lossless" in card(path)
    elif kind == "odd area":
        far = {"type": "Polygon", "coordinates": [[[100, -80], [101, -80], [101, -79], [100, -80]]]}
        ds = scenes.dataset(1, (8, 8), groups={"": ("B04",)}, crs=True).assign_attrs(aoi=far)
        stvc.encode(ds, path)
    else:
        ds = scenes.dataset(3, (8, 8), groups={"": ("B04",)}, mask="mask", cloudy=(0, 1, 2))
        ds["mask"][:] = True
        stvc.encode(ds, path)
        assert "0 of them at least half clear" in card(path)
    tree_of(card(path))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_the_card_in_a_browser(field: Path, tmp_path: Path) -> None:
    """One page with a light and a dark notebook, one below the other."""
    from matplotlib.image import imread

    notebooks = "".join(
        f"<div data-jp-theme-light='{light}' style='height:400px'>{card(field)}</div>"
        for light in ("true", "false")
    )
    page, shot = tmp_path / "card.html", tmp_path / "card.png"
    page.write_text(
        f"<!doctype html><meta charset='utf-8'><body style='margin:0'>{notebooks}</body>"
    )
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=780,800",
         f"--screenshot={shot}", page.as_uri()],
        check=True, capture_output=True, timeout=180,
    )  # fmt: skip
    picture = imread(shot)[..., :3]
    for top, bright in ((0, True), (400, False)):
        part = picture[top + 5 : top + 200, 5:750]
        ground = part[0, 0]
        assert (ground.mean() > 0.9) == bright
        assert (np.abs(part - ground).max(-1) > 0.3).mean() > 0.01  # something is drawn on it
