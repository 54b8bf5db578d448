"""Progress, notes and sizes as the console shows them."""

from __future__ import annotations

import sys

import pytest

from stvc import console


def test_progress_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress_bar(quiet=False) as progress:
        assert progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress_bar(quiet=True) as progress:
        assert progress is None
    with console.progress_bar(quiet=False) as progress:
        assert progress is not None
        progress(3, 7, "date 2020-01-31")
    out, err = capsys.readouterr()
    assert out == ""
    assert "date 2020-01-31" in err
    assert "3/7" in err


def test_warnings_of_the_library_are_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    log = logging.getLogger("stvc.source.sample")
    for quiet in (False, True):
        console.log_to_stderr(0, quiet=quiet)
        log.warning("covers %d %%", 40)
    assert capsys.readouterr().err == "stvc: warning: covers 40 %\n"


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (412_345, "412 kB"),
        (999_600, "1 MB"),
        (13_440_000, "13.4 MB"),
        (2.5e9, "2.5 GB"),
        (7.5e12, "7500 GB"),
    ],
)
def test_byte_sizes(count: float, told: str) -> None:
    assert console.byte_size(count) == told
