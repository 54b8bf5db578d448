"""``stvc monitor run | status``: the commands' declaration; nothing heavy is imported here."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags
from stvc.cli.options import read_date

Fields = Annotated[
    Path,
    typer.Argument(metavar="FIELDS.TOML", help="Which fields, and how; see examples/fields.toml."),
]


class ExecutorName(StrEnum):
    """Where fields are worked on."""

    local = "local"
    dask = "dask"


monitor = typer.Typer(
    help="Keep the archives of many fields up to date: for cron, systemd, Airflow, Kubernetes.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@monitor.command()
def run(
    fields: Fields,
    look_back: Annotated[
        str | None,
        typer.Option(
            metavar="DAYS",
            help="How far before the last date held late and reprocessed products are looked for, "
            "such as 15d, 2w or all (default: the file's, else 15d).",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only this field; may be given several times."),
    ] = None,
    today: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Take this day for today: nothing later is fetched."),
    ] = None,
    dry_run: Annotated[
        bool, flags.switch("--dry-run", help="Only list what would be fetched.")
    ] = False,
    retry_refused: Annotated[
        bool,
        flags.switch(
            "--retry-refused",
            help="Ask for dates again that earlier runs refused or gave up (see monitor status).",
        ),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Processes on this machine.")] = 1,
    executor: Annotated[
        ExecutorName, typer.Option(help="Where fields are worked on.")
    ] = ExecutorName.local,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            envvar="DASK_SCHEDULER_ADDRESS",
            help="Dask scheduler (or its scheduler file) for --executor dask.",
        ),
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Budget of requests for the whole run.")
    ] = None,
    max_pu: Annotated[
        float | None,
        typer.Option(metavar="X", min=0, help="Budget of processing units for the whole run."),
    ] = None,
    lock_timeout: Annotated[
        float,
        typer.Option(metavar="S", min=0, help="Seconds to wait for a field that is being written."),
    ] = 10.0,
    exit_code_if_empty: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=255, help="Exit code if nothing is new (Airflow: 99 = skipped)."
        ),
    ] = 0,
    prometheus: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write metrics for node_exporter's textfile collector."),
    ] = None,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Fetch what is new for every field and append it; one JSON line per event on stdout.

    Running twice changes nothing. Late products are appended, reprocessed ones supersede the old
    ones. A field that fails stops no other. A date that is refused for its radiometry, or that
    fails in five runs, is not asked for again until its product or baseline changes. On SIGTERM
    and Ctrl-C, fields that have begun end.

    Exit codes: 0 all up to date, or nothing new; 3 some fields are not; if none is, the code that
    they share (75 locked or busy: try later, 77 refused) or 1; 78 bad file; 143, 130 stopped.

    \b
    Examples:
      stvc monitor run fields.toml
      stvc monitor run fields.toml --dry-run | jq -r .time
      stvc monitor run fields.toml --workers 4 --max-pu 500 --prometheus stvc.prom
      stvc monitor run fields.toml --executor dask --scheduler tcp://HOST:8786
    """  # noqa: D301
    console.log_to_stderr(verbose, quiet=quiet)
    if (scheduler is None or not scheduler.strip()) and executor is ExecutorName.dask:
        raise typer.BadParameter(
            "is needed for --executor dask; write tcp://HOST:8786", param_hint="--scheduler"
        )
    if prometheus is not None and not prometheus.parent.is_dir():
        raise typer.BadParameter(
            f"there is no directory {prometheus.parent}", param_hint="--prometheus"
        )
    day = read_date(today, "--today")

    from stvc.cli import monitor as work

    return work.run(
        fields,
        look_back=look_back,
        only=tuple(only or ()),
        today=day,
        dry_run=dry_run,
        retry_refused=retry_refused,
        workers=workers,
        scheduler=scheduler if executor is ExecutorName.dask else None,
        max_requests=max_requests,
        max_pu=max_pu,
        lock_timeout=lock_timeout,
        exit_code_if_empty=exit_code_if_empty,
        prometheus=prometheus,
        quiet=quiet,
    )


@monitor.command()
def status(fields: Fields, as_json: flags.Json = False) -> int:
    """Show how every field stands: last date, clear share, size, ratio, last error.

    \b
    Examples:
      stvc monitor status fields.toml
      stvc monitor status fields.toml --json | jq '.fields[] | select(.failures > 2)'
    """  # noqa: D301
    from stvc.cli import monitor as work

    return work.status(fields, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(monitor, name="monitor")
