"""A source whose service is a folder that tests write to, and jobs that use it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import scenes
import xarray as xr

from stvc import errors, source
from stvc.aoi import Aoi, parse_aoi
from stvc.monitor.field_run import run_field
from stvc.monitor.results import FieldResult, FieldTask

SIDE = 16
_LOSSES = {
    "lose": "UnavailableError: the service is down",
    "break": "SourceError: the reply is damaged",
}


class Service:
    """What the scripted source answers: products by field, faults, and a log of what was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def publish(self, field: str, day: str, product: str = "", baseline: str = "05.00") -> None:
        """Add a product; a later one of the same day takes the place of the earlier."""
        products = [p for p in self.products(field) if p["day"] != day]
        products.append({"day": day, "product": product or f"p-{day}", "baseline": baseline})
        (self.folder / f"{field}.json").write_text(json.dumps(products))

    def products(self, field: str) -> list[dict[str, str]]:
        path = self.folder / f"{field}.json"
        found: list[dict[str, str]] = json.loads(path.read_text()) if path.exists() else []
        return sorted(found, key=lambda product: product["day"])

    def fail(self, field: str, what: str, day: str = "") -> None:
        """Let a field's fetches fail.

        An error's name raises it, a signal's name sends it once (to the ``parent``, if that is the
        day), ``lose`` leaves out the day, ``break`` too for a reason that does not pass, ``offset``
        lifts it, ``always die`` and ``wait`` do that.
        """
        (self.folder / f"{field}.fault").write_text(f"{what}:{day}")

    def widen(self, field: str, width: int) -> None:
        """Let a field have so many pixels from west to east."""
        (self.folder / f"{field}.width").write_text(str(width))

    def width(self, field: str) -> int:
        path = self.folder / f"{field}.width"
        return int(path.read_text()) if path.exists() else SIDE

    def heal(self, field: str) -> None:
        (self.folder / f"{field}.fault").unlink()

    def fault(self, field: str) -> tuple[str, str]:
        path = self.folder / f"{field}.fault"
        what, _, day = path.read_text().partition(":") if path.exists() else ("", "", "")
        return what, day

    def log(self, *words: str) -> None:
        with open(self.folder / "log", "a") as stream:
            stream.write(" ".join(words) + "\n")

    @property
    def asked(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []


class ScriptedSource:
    """See `stvc.source.protocol.Source`; also lists products, counts, and keeps to a budget."""

    name = "scripted"

    def __init__(self, folder: str) -> None:
        self.service = Service(Path(folder))
        self._requests = 0
        self._limits: tuple[int | None, float | None] = (None, None)

    def ground(self) -> None:
        return None

    def usage(self) -> dict[str, float]:
        return {"requests": self._requests, "pu_spent": self._requests * 0.5}

    def limit(self, requests: int | None, pu: float | None) -> None:
        self._limits = (requests, pu)

    def estimate(self, aoi: Aoi, bands: Sequence[str] | None, frames: int) -> dict[str, float]:
        return {"requests": frames, "pu": 0.5 * frames}

    def _request(self, *words: str) -> None:
        requests, pu = self._limits
        beyond = requests is not None and self._requests >= requests
        if beyond or (pu is not None and self._requests * 0.5 + 0.5 > pu):
            raise errors.BudgetError("the budget is used up")
        self._requests += 1
        self.service.log(*words)

    def products(self, aoi: Aoi, start: date | None, end: date | None) -> list[dict[str, Any]]:
        self._request("list", aoi.name)
        if self.service.fault(aoi.name)[0] == "AuthError":
            raise errors.AuthError("who are you?")
        return [
            {"time": _time(p["day"]), "product_id": p["product"], "baseline": p["baseline"]}
            for p in self.service.products(aoi.name)
            if (start is None or p["day"] >= str(start)) and (end is None or p["day"] <= str(end))
        ]

    def dates(self, aoi: Aoi, start: date | None, end: date | None) -> Any:
        return np.array([row["time"] for row in self.products(aoi, start, end)])

    def fetch(
        self,
        aoi: Aoi,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
        on_frame_error: str = "raise",
    ) -> xr.Dataset:
        what, day = self.service.fault(aoi.name)
        if what.startswith("SIG"):
            self.service.heal(aoi.name)
            whom = os.getppid() if day == "parent" else os.getpid()
            os.kill(whom, getattr(signal, what))
        if what == "always die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "wait":
            self.service.log("waiting", aoi.name)
            while (self.service.folder / f"{aoi.name}.fault").exists():
                time.sleep(0.02)
            what = ""
        lost = []
        wanted = []
        for product in self.service.products(aoi.name):
            inside = str(start) <= product["day"] <= str(end)
            if not inside or _time(product["day"]) in exclude:
                continue
            if product["day"] == day and what in _LOSSES and on_frame_error == "skip":
                self._request("fetch", aoi.name, product["day"], product["product"])
                name = {"time": f"{day}T10:00:00", "product_id": product["product"]}
                lost.append({**name, "error": _LOSSES[what]})
                continue
            self._request("fetch", aoi.name, product["day"], product["product"])
            if what and day in ("", product["day"]) and hasattr(errors, what):
                raise getattr(errors, what)(f"fault at {product['day']}")
            wanted.append(product)
        lifted, width = 1000 if what == "offset" else 0, self.service.width(aoi.name)
        frames = make_frames(wanted, lifted, day, width)
        frames.attrs["aoi_name"] = aoi.name
        if lost:
            frames.attrs["incomplete"] = json.dumps(lost)
        return frames


def make_frames(
    products: list[dict[str, str]], offset: int = 0, day: str = "", width: int = SIDE
) -> xr.Dataset:
    """Make 16 rows of pixels of B04 and B08 that differ by day and baseline."""
    shape = (SIDE, width)
    times = np.array([_time(p["day"]) for p in products], "datetime64[ns]")
    coords: dict[str, Any] = {"time": ("time", times), **scenes.axes("", shape)}
    base = scenes.ground(3, 1, 2, shape)[0].astype(int) + 1500
    pixels = np.zeros((len(products), 2, *shape), np.uint16)
    for k, product in enumerate(products):
        seed = int(product["day"].replace("-", "")) + int(float(product["baseline"] or 0) * 100)
        noise = np.random.default_rng(seed).integers(-40, 40, base.shape)
        pixels[k] = base + noise + (offset if product["day"] == day else 0)
    variables: dict[str, Any] = {
        band: (("time", "y", "x"), pixels[:, c]) for c, band in enumerate(("B04", "B08"))
    }
    variables["product_id"] = ("time", np.array([p["product"] for p in products], object))
    variables["baseline"] = ("time", np.array([p["baseline"] for p in products], object))
    return xr.Dataset(variables, coords)


def register() -> None:
    """Make the source known to this process."""
    source._REGISTRY["scripted"] = "monitor_source:ScriptedSource"


def run_scripted(task: FieldTask) -> FieldResult:
    """Do a field's work in a process that does not know the source yet."""
    register()
    return run_field(task)


def only_fetch(task: FieldTask) -> FieldResult:
    """Stand in for a field's work where only processes matter: quick, writes nothing."""
    aoi = parse_aoi(task.geometry.encode(), task.id, task.id)
    source = ScriptedSource(task.settings.options["folder"])
    source.fetch(aoi, date(2024, 1, 1), task.today, None, ())
    return FieldResult(task.id, str(task.archive), "written")


def write_job(folder: Path, ids: Sequence[str], more: str = "") -> Path:
    """Write a job of squares whose source is the service in ``folder/service``."""
    corners = [[14.0, 45.0], [14.001, 45.0], [14.001, 45.001], [14.0, 45.001], [14.0, 45.0]]
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {"type": "Polygon", "coordinates": [corners]},
        }
        for name in ids
    ]
    (folder / "fields.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    path = folder / "fields.toml"
    path.write_text(
        '[defaults]\nsource = "scripted"\nreference = "recent"\n'
        f'[sources.scripted]\nfolder = "{folder / "service"}"\n'
        f'[[fields]]\nfile = "fields.geojson"\nid_property = "name"\n{more}'
    )
    return path


def _time(day: str) -> np.datetime64:
    return np.datetime64(f"{day}T10:00:00", "s")
