"""STAC items of a place and time, from an API or a static catalog, local or behind http."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from stvc.aoi import Aoi
from stvc.errors import AuthError, QuotaError, SourceError, UnavailableError
from stvc.source._rasters import ask_for

if TYPE_CHECKING:
    import pystac
    from pystac_client.stac_api_io import StacApiIO

_TIMEOUT = (30.0, 120.0)
_RETRIES = 4


def find_items(
    url: str, collection: str | None, aoi: Aoi, start: date | None, end: date | None
) -> list[pystac.Item]:
    """Find the items that touch an area between two days.

    Parameters
    ----------
    url : str
        URL or path of an API's landing page, a catalog, a collection, or an item collection.
    collection : str or None
        Only items of this collection.
    aoi : Aoi
    start, end : date or None
        Both included; a day is added at both ends, since solar days are not those of UTC.

    Returns
    -------
    list of pystac.Item
        Each once, with absolute asset locations.

    Raises
    ------
    AuthError, QuotaError, UnavailableError, SourceError
        If the catalog refuses, is busy, does not answer, or is no STAC.
    """
    with _told(url):
        import pystac

        io = _io()
        landing = _read(url, io)
        if landing.get("type") == "FeatureCollection":
            items: Iterable[pystac.Item] = pystac.ItemCollection.from_dict(landing)
            for item in items:
                item.set_self_href(item.get_self_href() or _absolute(url))
        elif _searchable(landing):
            items = _search(url, collection, aoi, start, end, io)
        else:
            items = _walk(url, landing, io)
        chosen = {
            (item.collection_id, item.id): item
            for item in items
            if collection in (None, item.collection_id) and _touches(item, aoi)
        }
        return list(chosen.values())


def _io() -> StacApiIO:
    try:
        from pystac_client.stac_api_io import StacApiIO
    except ImportError as missing:
        ask_for("stac", "pystac-client", missing)
    from urllib3.util.retry import Retry

    # pystac-client repeats no POST of its own, and searches are mostly POSTs.
    patient = Retry(
        total=_RETRIES,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
        raise_on_status=False,
    )
    return StacApiIO(timeout=_TIMEOUT, max_retries=patient)


def _read(url: str, io: StacApiIO) -> dict[str, Any]:
    read = json.loads(io.read_text(url))
    if not isinstance(read, dict):
        raise SourceError(f"{url} is JSON, but no STAC object")
    return read


def _absolute(url: str) -> str:
    return url if urlsplit(url).scheme in ("http", "https", "file") else str(Path(url).resolve())


def _searchable(landing: dict[str, Any]) -> bool:
    links = landing.get("links") or []
    return any(link.get("rel") == "search" for link in links if isinstance(link, dict))


def _search(
    url: str,
    collection: str | None,
    aoi: Aoi,
    start: date | None,
    end: date | None,
    io: StacApiIO,
) -> Iterable[pystac.Item]:
    from pystac_client import Client

    client = Client.open(url, stac_io=io)
    if collection is None:
        known = [c.id for c in client.get_collections()]
        if len(known) != 1:
            raise SourceError(
                f"{url} has {len(known)} collections; choose one with --collection: "
                f"{', '.join(known[:12])}"
            )
        collection = known[0]
    period = None
    if start is not None or end is not None:
        first, last = _day_before(start), _day_after(end)
        period = f"{first or '..'}/{last or '..'}"
    # Bounds, not the outline: some servers refuse long outlines, and what misses it is cut later.
    found = client.search(
        method="POST" if _posts(client) else "GET",
        collections=[collection],
        bbox=list(aoi.geometry.bounds),
        datetime=period,
        limit=100,
    )
    return found.items()


def _posts(client: Any) -> bool:
    methods = [link.extra_fields.get("method", "GET") for link in client.get_links("search")]
    return "POST" in methods


def _day_before(day: date | None) -> str | None:
    import datetime

    return None if day is None else f"{day - datetime.timedelta(days=1)}T00:00:00Z"


def _day_after(day: date | None) -> str | None:
    import datetime

    return None if day is None else f"{day + datetime.timedelta(days=1)}T23:59:59Z"


def _walk(url: str, landing: dict[str, Any], io: StacApiIO) -> list[pystac.Item]:
    import warnings

    import pystac
    from pystac_client.warnings import PystacClientWarning

    if "type" not in landing and "stac_version" not in landing:
        raise SourceError(f"{url} is JSON, but no STAC catalog; give the URL of its landing page")
    root = pystac.read_dict(landing, href=_absolute(url), stac_io=io)
    if isinstance(root, pystac.Item):
        return [root]
    assert isinstance(root, pystac.Catalog)
    with warnings.catch_warnings():
        # That a static catalog has no search is no news; it is walked.
        warnings.simplefilter("ignore", PystacClientWarning)
        return list(root.get_items(recursive=True))


def _touches(item: pystac.Item, aoi: Aoi) -> bool:
    import shapely
    from shapely.geometry import shape

    if item.geometry is not None:
        return bool(shapely.intersects(shape(item.geometry), aoi.geometry))
    return item.bbox is None or bool(shapely.intersects(shapely.box(*item.bbox), aoi.geometry))


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what pystac-client and requests raise into stvc's errors, credentials left out."""
    try:
        import pystac
        import requests
        from pystac_client.exceptions import APIError
    except ImportError as missing:
        ask_for("stac", "pystac-client", missing)
    place = _without_secrets(url)
    try:
        yield
    except APIError as error:
        _refuse(place, getattr(error, "status_code", None), error)
    except requests.RequestException as error:
        raise UnavailableError(
            f"{place} does not answer ({type(error).__name__}); try again later"
        ) from error
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename} does not exist; it is named by {place}") from error
    except (pystac.STACError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise SourceError(f"{place} is not a STAC catalog: {_short(error)}") from error
    except OSError as error:
        raise UnavailableError(f"{place} cannot be read: {_short(error)}") from error


def _refuse(place: str, status: int | None, error: Exception) -> NoReturn:
    if status in (401, 403):
        raise AuthError(f"{place} refuses access (HTTP {status}); check the credentials") from error
    if status == 429:
        raise QuotaError(f"{place} refuses: too many requests (HTTP 429)") from error
    if status is not None and status < 500:
        raise SourceError(f"{place} refuses the search (HTTP {status}): {_short(error)}") from error
    if status is None:  # what lies behind it may show the whole URL
        cause = type(error.__context__ or error).__name__
        raise UnavailableError(f"{place} does not answer ({cause}); try again later") from None
    raise UnavailableError(f"{place} failed (HTTP {status}); try again later") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
