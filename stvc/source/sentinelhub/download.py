"""Catalog pages in, frames out: searching, fetching in parallel, and what to do about failures."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from sentinelhub.api.catalog import CatalogSearchIterator, SentinelHubCatalog
from sentinelhub.constants import CRS
from sentinelhub.exceptions import BaseSentinelHubException
from sentinelhub.geometry import BBox

from stvc.aoi import Aoi
from stvc.errors import AuthError, QuotaError, SourceError, UnavailableError
from stvc.grid import Window
from stvc.radiometry import offset_of_baseline
from stvc.service_config import ServiceConfig
from stvc.source.sentinelhub.catalog import PASS, Overpass, overpasses, product_of
from stvc.source.sentinelhub.client import Client
from stvc.source.sentinelhub.frames import FramePixels, Loss
from stvc.source.sentinelhub.layout import MASK_GSD, Group, Layout
from stvc.source.sentinelhub.process import Tile, collection, process_request
from stvc.source.sentinelhub.reply import DamagedReplyError, Pixels, read_reply
from stvc.source.sentinelhub.usage import Limits, Usage
from stvc.types import U8

FIRST_DAY = date(2015, 6, 23)
"""When Sentinel-2A was launched."""

MOST_PRODUCTS = 50_000
"""Most products that a search may list; a whole tile has some 3000 in ten years."""

_IN_A_ROW = 3
# ^ So many frames lost one after another to a service that does not answer, and the others are not
#   tried: each would cost minutes of waiting.
_NODATA_OF = {"SCL": 0, "CLP": 255}
_log = logging.getLogger(__name__)


class Downloader:
    """Talks to one service.

    Parameters
    ----------
    service : ServiceConfig
        Whom to ask.
    usage : Usage
        Counters and limits.
    threads : int
        Frames under way at the same time.
    """

    def __init__(self, service: ServiceConfig, usage: Usage, threads: int) -> None:
        self._usage = usage
        self._limits: Limits = usage.limits
        self._threads = threads
        self._client = Client(service, self._limits, usage)
        self._config = self._client.config
        self._collection = collection(self._config)

    def search(
        self, aoi: Aoi, layout: Layout, start: date | None, end: date | None
    ) -> tuple[Overpass, ...]:
        """List the overpasses of a place.

        Parameters
        ----------
        aoi : Aoi
            Overpasses that image nothing of it are left out.
        layout : Layout
            Products are looked for in its whole box.
        start, end : date or None
            Days; overpasses beyond them may be listed too.

        Returns
        -------
        tuple of Overpass

        Raises
        ------
        SourceError
            If the catalog cannot be asked, or answers what is no catalog.
        """
        first = datetime.combine(max(start or FIRST_DAY, FIRST_DAY), datetime.min.time(), UTC)
        last_day = end or datetime.now(UTC).date()
        if first.date() > last_day:
            return ()
        # A recording that began on the last day may reach the place on the next one.
        last = datetime.combine(last_day, datetime.max.time(), UTC) + 2 * PASS
        catalog = SentinelHubCatalog(config=self._config)
        catalog.client = self._client
        found = catalog.search(
            self._collection,
            time=(first.replace(microsecond=0), last.replace(microsecond=0)),
            bbox=BBox(layout.bounds, crs=CRS(layout.epsg)),
            limit=100,
        )
        products = []
        for feature in self._features(found):
            products.append(product_of(feature))
            if len(products) > MOST_PRODUCTS:
                raise SourceError(
                    f"the catalog lists more than {MOST_PRODUCTS} products for {aoi.name}; "
                    "choose a shorter period"
                )
        return overpasses(products, aoi.geometry)

    def _features(self, found: CatalogSearchIterator) -> Iterator[Any]:
        """Go through the pages of a search, asking again for those that are not JSON of a page."""
        failures = 0
        while True:
            page = found.next
            try:
                feature = next(found)
            except StopIteration:
                return
            except (
                BaseSentinelHubException,
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                RecursionError,
            ) as error:
                failures += 1
                if failures >= self._limits.attempts:
                    raise SourceError(
                        f"{self._config.sh_base_url} answers a catalog search with something else "
                        f"({type(error).__name__}, {failures} times); check the base address: "
                        "stvc config show"
                    ) from None
                found.next = page
                time.sleep(self._limits.wait(failures))
                self._client.mark_repetition()
            else:
                failures = 0
                yield feature

    def fetch_frames(
        self,
        frames: Sequence[Overpass],
        layout: Layout,
        mask: str,
        *,
        harmonized: bool,
        skip: bool,
    ) -> tuple[list[FramePixels | None], list[Loss]]:
        """Fetch frames, several at a time.

        Parameters
        ----------
        frames : sequence of Overpass
        layout : Layout
        mask : str
            ``SCL`` or ``CLP``.
        harmonized : bool
            Whether the service takes the baseline's offset off.
        skip : bool
            Whether to go on without frames that cannot be had.

        Returns
        -------
        tuple of list
            Per frame its pixels, None if it was skipped; and what was skipped.

        Raises
        ------
        SourceError
            The first frame's error, if not `skip`, or if a refusal left no frame at all.
        """
        results: list[FramePixels | None] = [None] * len(frames)
        losses: dict[int, SourceError] = {}
        state = _State()

        def work(index: int) -> None:
            try:
                if state.stopped is not None:
                    raise _same_again(state.stopped)
                results[index] = self._frame(frames[index], layout, mask, harmonized=harmonized)
                state.succeeded()
            except SourceError as error:
                losses[index] = error
                state.failed(error, at_once=not skip)

        pool = ThreadPoolExecutor(min(self._threads, max(len(frames), 1)), "stvc-sentinelhub")
        try:
            for future in [pool.submit(work, index) for index in range(len(frames))]:
                future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if losses:
            first = losses[state.first(losses)]
            refused = isinstance(first, (AuthError, QuotaError))
            if not skip or (refused and all(result is None for result in results)):
                raise first
        return results, [Loss(frames[index], losses[index]) for index in sorted(losses)]

    def _frame(
        self, frame: Overpass, layout: Layout, mask: str, *, harmonized: bool
    ) -> FramePixels:
        offsets = {offset_of_baseline(p.baseline) for p in frame.products if p.baseline}
        if not harmonized and len(offsets) > 1:
            raise SourceError(
                f"{frame.product_id} mixes baselines before and after 04.00, whose raw DN differ "
                "by 1000; fetch it harmonized"
            )
        bands = {
            group.gsd: np.zeros((len(group.bands), group.spec.height, group.spec.width), np.uint16)
            for group in layout.groups
            if group.bands
        }
        spec = layout.mask
        classes: U8 = np.full((spec.height, spec.width), _NODATA_OF[mask], np.uint8)
        for group in layout.groups:
            for window, tile in tiles_of(layout, group, mask):
                got = self._tile(tile, frame, harmonized=harmonized)
                box = slice(window.row, window.row_stop), slice(window.col, window.col_stop)
                if tile.bands:
                    bands[group.gsd][:, box[0], box[1]] = got.bands
                if tile.mask:
                    classes[box] = np.where(got.imaged, got.mask[0], _NODATA_OF[mask])
        return FramePixels(bands, classes)

    def _tile(self, tile: Tile, frame: Overpass, *, harmonized: bool) -> Pixels:
        """Fetch one rectangle, and again if the reply is damaged."""
        trouble = ""
        for failures in range(1, self._limits.attempts + 1):
            request = process_request(tile, frame, self._config, harmonized=harmonized)
            body = self._client.fetch(request, again=failures > 1)
            try:
                got = read_reply(body, tile.outputs, (tile.spec.height, tile.spec.width))
            except DamagedReplyError as problem:
                trouble = str(problem)
                _log.info("the reply for %s %s, attempt %d", frame.time, trouble, failures)
                if failures < self._limits.attempts:
                    time.sleep(self._limits.wait(failures))
                continue
            foreign = set(got.products) - {product.id for product in frame.products}
            if foreign and frame.contested:
                _log.warning("%s also holds pixels of %s", frame.time, ", ".join(sorted(foreign)))
            return got
        raise SourceError(
            f"the reply for {frame.time} ({frame.product_id}) {trouble}, {self._limits.attempts} "
            "times; try again later"
        )


def tiles_of(layout: Layout, group: Group, mask: str) -> Iterator[tuple[Window, Tile]]:
    """Cut a group into requests.

    Yields
    ------
    tuple of (Window, Tile)
        Where in the group's grid, and what to ask for.
    """
    extra = (mask,) if group.gsd == MASK_GSD else ()
    for window in group.windows():
        yield window, Tile(group.spec.crop(window), layout.epsg, group.bands, extra)


class _State:
    """What parallel fetches know of each other's failures."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._first: SourceError | None = None
        self.stopped: SourceError | None = None

    def succeeded(self) -> None:
        with self._lock:
            self._in_a_row = 0

    def failed(self, error: SourceError, *, at_once: bool) -> None:
        """Note a failure; decide whether the frames that are left are tried at all."""
        with self._lock:
            self._first = self._first or error
            self._in_a_row += isinstance(error, UnavailableError)
            final = isinstance(error, (AuthError, QuotaError)) or self._in_a_row >= _IN_A_ROW
            if self.stopped is None and (at_once or final):
                self.stopped = error

    def first(self, losses: dict[int, SourceError]) -> int:
        """Index of the failure that came first."""
        return next(index for index, error in losses.items() if error is self._first)


def _same_again(error: SourceError) -> SourceError:
    """An error for a frame that is not tried because of another one's."""
    made: Any = type(error)
    again: SourceError = made(f"not tried, because of this: {error}")
    return again
