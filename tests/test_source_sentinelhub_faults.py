"""The source sentinelhub when things go wrong: what passes is waited out, what lasts is named."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest
from sentinelhub_samples import connect, truth
from servers.places import TILE, area
from servers.sentinelhub_scenes import scene
from servers.sentinelhub_server import KINDS, Faults, SentinelHubServer

from stvc.errors import AuthError, QuotaError, SourceError, UnavailableError

DAYS = [f"2023-05-{day:02d}" for day in (1, 6, 11, 16, 21)]
SCENES = [scene(day, TILE) for day in DAYS]
ONE = SCENES[:1]


def faulty(*faults: str | None, kind: str = "process", **options: Any) -> Faults:
    return Faults(script={kind: list(faults)}, **options)


@pytest.mark.parametrize("kind", ["catalog", "process"])
@pytest.mark.parametrize("fault", KINDS)
def test_a_fault_that_passes_costs_one_more_request_and_no_pixel(
    monkeypatch: pytest.MonkeyPatch, kind: str, fault: str
) -> None:
    with SentinelHubServer(ONE, faults=faulty(fault, kind=kind)) as server:
        source = connect(server, monkeypatch)
        ds = source.fetch(area(), None, None, ["B02"], ())
        np.testing.assert_array_equal(ds.B02.values[0], truth(ds, "B02", ONE))
        np.testing.assert_array_equal(ds.SCL.values[0], truth(ds, "SCL", ONE))
        used = source.usage()
        assert used["requests"] == 4 == server.count("catalog") + server.count("process")
        assert used["retries"] == 1
        assert used["logins"] == server.count("token") == (2 if fault == "expired" else 1)
        # Nothing else was asked twice.
        keys = [asked.key for asked in server.requests if asked.fault is None]
        assert len(keys) - len(set(keys)) == (fault == "expired")


@pytest.mark.parametrize("fault", ["busy", "error", "unavailable", "drop"])
def test_what_does_not_pass_ends_after_the_attempts(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    with SentinelHubServer(ONE, faults=faulty(*[fault] * 9)) as server:
        source = connect(server, monkeypatch, attempts=3)
        with pytest.raises(UnavailableError, match=r"3 times.*try again later") as caught:
            source.fetch(area(), None, None, ["B02"], ())
        assert server.count("process") == 3
    assert caught.value.exit_code == 75


@pytest.mark.parametrize("fault", ["truncate", "garbage"])
def test_a_catalog_that_is_none(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    with SentinelHubServer(ONE, faults=faulty(*[fault] * 9, kind="catalog")) as server:
        with pytest.raises(SourceError, match="catalog search with something else.*3 times"):
            connect(server, monkeypatch, attempts=3).dates(area(), None, None)
        assert server.count("catalog") == 3


@pytest.mark.parametrize("fault", ["truncate", "garbage"])
def test_a_reply_that_stays_damaged_is_an_error_never_pixels(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    with SentinelHubServer(ONE, faults=faulty(*[fault] * 9)) as server:
        with pytest.raises(SourceError, match=r"the reply for 2023-05-01T10:40:21 .*3 times"):
            connect(server, monkeypatch, attempts=3).fetch(area(), None, None, ["B02"], ())
        assert server.count("process") == 3


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("quota", QuotaError, "quota is used up.*INSUFFICIENT_PROCESSING_UNITS"),
        ("forbidden", AuthError, "access refused.*HTTP 403"),
        ("bad", SourceError, "request refused.*HTTP 400: loopback: bad"),
        ("redirect", SourceError, "redirected.*not followed"),
        ("missing", SourceError, "check the base address"),
        ("endless", SourceError, "answered with more than"),
    ],
)
def test_refusals_are_named_at_once(
    monkeypatch: pytest.MonkeyPatch, fault: str, error: type[SourceError], message: str
) -> None:
    with SentinelHubServer(SCENES, faults=faulty(*[fault] * 99)) as server:
        with pytest.raises(error, match=message) as caught:
            connect(server, monkeypatch, threads=1).fetch(area(), None, None, ["B02"], ())
        assert type(caught.value) is error
        assert server.count("process") == 1


@pytest.mark.parametrize(
    ("header", "waited"),
    [
        ("200", 0.2),  # milliseconds, whatever HTTP says
        (None, 0.01),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.01),  # the client would stumble over it
        ("-5", 0.01),
        ("0", 0.002),  # at least something, and growing
    ],
)
def test_retry_after(monkeypatch: pytest.MonkeyPatch, header: str | None, waited: float) -> None:
    waits: list[float] = []
    monkeypatch.setattr("stvc.source.sentinelhub.client.time.sleep", waits.append)
    with SentinelHubServer(ONE, faults=faulty("busy", retry_after=header)) as server:
        connect(server, monkeypatch).fetch(area(), None, None, ["B02"], ())
    assert [wait for wait in waits if wait == pytest.approx(waited)]


def test_nobody_waits_for_a_century(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer(ONE, faults=faulty("busy", retry_after="3155760000000")) as server:
        source = connect(server, monkeypatch)
        with pytest.raises(UnavailableError, match="busy for 3155760000 s"):
            source.fetch(area(), None, None, ["B02"], ())


def test_silence_ends_with_the_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer(ONE, faults=faulty("silent")) as server:
        source = connect(server, monkeypatch, attempts=1, timeout_s=3)
        with pytest.raises(UnavailableError, match="Timeout"):
            source.fetch(area(), None, None, ["B02"], ())


def test_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer(ONE, faults=faulty("error", "busy", kind="token")) as server:
        source = connect(server, monkeypatch)
        assert len(source.dates(area(), None, None)) == 1
        assert server.count("token") == 3 and source.usage()["logins"] == 1
        # Another source of this process uses the same token; nobody logs in twice.
        assert len(connect(server, monkeypatch).dates(area(), None, None)) == 1
        assert server.count("token") == 3
    with SentinelHubServer(ONE) as server:
        source = connect(server, monkeypatch)
        monkeypatch.setenv("SH_CLIENT_SECRET", "wrong")
        with pytest.raises(AuthError, match=r"refused the credentials .*no such client \*\*\*"):
            source.dates(area(), None, None)
        monkeypatch.delenv("SH_CLIENT_ID")
        monkeypatch.delenv("SH_CLIENT_SECRET")
        with pytest.raises(AuthError, match="no Sentinel Hub credentials"):
            connect_without(server, monkeypatch).dates(area(), None, None)
    with SentinelHubServer(ONE, faults=faulty(*["unavailable"] * 9, kind="token")) as server:
        with pytest.raises(UnavailableError, match="cannot log in: HTTP 503"):
            connect(server, monkeypatch).dates(area(), None, None)
        assert server.count("token") == 4


def connect_without(server: SentinelHubServer, patch: pytest.MonkeyPatch) -> Any:
    source = connect(server, patch)
    patch.delenv("SH_CLIENT_ID")
    patch.delenv("SH_CLIENT_SECRET")
    return source


def test_a_short_lived_token_is_renewed_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer(SCENES, token_s=0.001) as server:
        source = connect(server, monkeypatch, threads=1)
        source.fetch(area(), None, None, ["B02"], ())
        assert source.usage()["logins"] > 2 and source.usage()["retries"] == 0


def test_request_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer(SCENES) as server:
        source = connect(server, monkeypatch, max_requests=6, threads=1)
        with pytest.raises(QuotaError, match=r"6 requests is used up.*--max-requests"):
            source.fetch(area(), None, None, ["B02"], ())
        assert source.requests == 6 == server.count("process") + server.count("catalog")
        source.limit(None, None)
        assert source.fetch(area(), None, None, ["B02"], ()).sizes["time"] == 5


def test_unit_budget_is_refused_before_it_is_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer(SCENES) as server:
        source = connect(server, monkeypatch, threads=4)
        cost = source.estimate(area(), ["B02"], 1)["pu"]
        source.limit(None, 2.5 * cost)
        with pytest.raises(QuotaError, match=r"processing units would exceed.*--max-pu"):
            source.fetch(area(), None, None, ["B02"], ())
        assert 0 < source.pu_spent <= 2.5 * cost
        spent = sum(asked.status == 200 for asked in server.requests if asked.kind == "process")
        assert spent <= 5


def test_skipped_frames_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = [None, None, *["truncate"] * 2]
    with SentinelHubServer(SCENES, faults=faulty(*script)) as server:
        source = connect(server, monkeypatch, threads=1, attempts=2)
        with caplog.at_level(logging.WARNING, "stvc"):
            logging.getLogger("stvc").propagate = True
            ds = source.fetch(area(), None, None, ["B02"], (), on_frame_error="skip")
    assert [str(t)[:10] for t in ds.time.values] == [DAYS[0], *DAYS[2:]]
    (lost,) = json.loads(ds.attrs["incomplete"])
    assert lost["time"] == "2023-05-06T10:40:21"
    assert lost["product_id"] == SCENES[1].product_id and "SourceError" in lost["error"]
    assert "1 of 5 dates" in caplog.text
    for row, one in zip((1, 2), SCENES[2:4], strict=True):
        np.testing.assert_array_equal(ds.B02.values[row], truth(ds, "B02", [one]))


def test_a_used_up_quota_keeps_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with SentinelHubServer(SCENES, faults=faulty(*[None] * 4, *["quota"] * 99)) as server:
        source = connect(server, monkeypatch, threads=1, on_frame_error="skip")
        ds = source.fetch(area(), None, None, ["B02"], ())
        assert ds.sizes["time"] == 2 and server.count("process") == 5
        errors = [lost["error"] for lost in json.loads(ds.attrs["incomplete"])]
        assert len(errors) == 3 and all(error.startswith("QuotaError") for error in errors)
        assert "not tried" in errors[2] and "not tried" not in errors[0]
        # With nothing at all to show for it, it is an error.
        with pytest.raises(QuotaError):
            source.fetch(area(), None, None, ["B02"], ds.time.values)


def test_a_service_that_is_down_is_not_asked_for_every_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SentinelHubServer(SCENES, faults=faulty(*["unavailable"] * 99)) as server:
        source = connect(server, monkeypatch, threads=1, attempts=2)
        ds = source.fetch(area(), None, None, ["B02"], (), on_frame_error="skip")
        assert ds.sizes["time"] == 0 and len(json.loads(ds.attrs["incomplete"])) == 5
        assert server.count("process") == 3 * 2


def test_raw_numbers_of_mixed_baselines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    middle = 650_200.0  # inside the field
    mixed = [
        scene(DAYS[0], (TILE[0], TILE[1], middle, TILE[3]), tile="31UFS", baseline="0300"),
        scene(DAYS[0], (middle, TILE[1], TILE[2], TILE[3]), tile="31UGS", baseline="0400"),
    ]
    with SentinelHubServer(mixed) as server:
        connect(server, monkeypatch).fetch(area(), None, None, ["B02"], ())
        with pytest.raises(SourceError, match="mixes baselines"):
            connect(server, monkeypatch, harmonized=False).fetch(area(), None, None, ["B02"], ())


def test_one_in_three_requests_fails_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [scene(f"2023-{month:02d}-11", TILE) for month in range(1, 13)]
    with SentinelHubServer(scenes, faults=Faults(rate=0.33, seed=5), page=5) as server:
        source = connect(server, monkeypatch, attempts=12, retry_wait_s=0.001, max_wait_s=0.01)
        times = source.dates(area(), None, None)
        ds = source.fetch(area(), None, None, ["B02"], ())
        faults = sum(asked.fault is not None for asked in server.requests)
    assert len(times) == ds.sizes["time"] == 12 and faults > 8
    for row, one in enumerate(scenes):
        np.testing.assert_array_equal(ds.B02.values[row], truth(ds, "B02", [one]))
    assert source.usage()["requests"] == server.count("catalog") + server.count("process")
