"""The command line: ``stvc encode | decode | info | verify``.

Nothing heavy is imported before a command runs, so that ``stvc --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from stvc import console
from stvc.cli import (
    background_command,
    bundle_command,
    compare_command,
    config_command,
    export_command,
    flags,
    monitor_command,
    quicklook_command,
    report_command,
    source_flags,
    stac_command,
)
from stvc.cli.options import (
    QualityFlags,
    given_options,
    read_bands,
    read_date,
    read_period,
    refuse_stdout,
)
from stvc.errors import StvcError
from stvc.exit_codes import ExitCode

app = typer.Typer(
    name="stvc",
    help="A codec for satellite image time series: append-only archives that decode to the same "
    "pixels everywhere.",
    epilog="Exit codes: 0 done, or nothing new; 2 wrong usage; 3 written, but damaged parts were "
    "skipped; 65 damaged; 75 try again later; all of them in stvc/exit_codes.py.",
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"stvc {version('stvc')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_show_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


@app.command()
def encode(
    aoi: flags.OptionalAoi = None,
    output: flags.Output = None,
    source: Annotated[
        str, typer.Option(help="Where frames come from: sample, sentinelhub, stac or files.")
    ] = "sample",
    start: flags.Start = None,
    end: flags.End = None,
    bands: flags.Bands = None,
    quality: flags.Quality = None,
    psnr: flags.Psnr = None,
    max_error: flags.MaxError = None,
    lossless: flags.Lossless = False,
    max_bytes: flags.MaxBytes = None,
    clouds: flags.CloudsFlag = None,
    reference: flags.ReferenceFlag = None,
    effort: flags.EffortFlag = None,
    external_background: flags.ExternalBackground = False,
    cache_dir: flags.CacheDir = None,
    overwrite: flags.Overwrite = False,
    dry_run: flags.DryRun = False,
    sh_profile: flags.ServiceProfile = None,
    max_requests: flags.MaxRequests = None,
    max_pu: flags.MaxPu = None,
    stac_url: source_flags.StacUrl = None,
    collection: source_flags.Collection = None,
    assets: source_flags.Assets = None,
    crs: source_flags.TileCrs = None,
    path: source_flags.Paths = None,
    band_names: source_flags.BandNames = None,
    dn_offset: source_flags.DnOffset = None,
    dates_from: source_flags.DatesFromFlag = None,
    on_frame_error: source_flags.OnFrameErrorFlag = None,
    accept_offset: source_flags.AcceptOffset = False,
    mask: source_flags.Mask = None,
    mask_classes: source_flags.MaskClasses = None,
    mask_threshold: source_flags.MaskThreshold = None,
    mask_dilate: source_flags.MaskDilate = None,
    mask_file: source_flags.MaskFile = None,
    mask_weights: source_flags.MaskWeights = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Encode a place's dates; into an archive that exists, append those that are new.

    An archive keeps the settings it was made with. With nothing new, its bytes do not change.

    \b
    Examples:
      stvc encode --aoi field.geojson
      stvc encode --aoi field.geojson -o out/field.stvc --end 2019-12-31 --psnr 45
      stvc encode --aoi field.geojson -o out/field.stvc    (appends from 2020 on)
      stvc encode --aoi field.geojson --source sentinelhub --start 2024-04-01 --dry-run
      stvc encode --aoi field.geojson --source stac --stac-url URL --mask-dilate 60
      stvc encode --source files --path 'tiles/*.tif' -o tiles.stvc
      stvc encode --source files --path products/ --aoi field.geojson    (SAFE folders)
      jq .features[0] fields.geojson | stvc encode --aoi - -o first.stvc --json
    """
    refuse_stdout(output)
    console.log_to_stderr(verbose, quiet=quiet)
    first, last = read_period(start, end)

    from stvc.cli import encode as work

    return work.encode(
        work.EncodeRequest(
            aoi=aoi,
            out=output or work.default_output(aoi, path),
            source=source,
            start=first,
            end=last,
            bands=read_bands(bands),
            flags=QualityFlags(
                quality=quality,
                psnr=psnr,
                max_error=max_error,
                lossless=lossless,
                max_bytes=max_bytes,
                clouds=clouds and clouds.value,
                reference=reference and reference.value,
                effort=effort and effort.value,
            ),
            cache_dir=cache_dir,
            external_background=external_background,
            source_options=given_options(
                profile=sh_profile,
                max_requests=max_requests,
                max_pu=max_pu,
                stac_url=stac_url,
                collection=collection,
                assets=assets,
                crs=crs,
                path=path or None,
                band_names=band_names,
                dn_offset=dn_offset,
                dates_from=dates_from and dates_from.value,
                on_frame_error=on_frame_error and on_frame_error.value,
            ),
            mask_options=given_options(
                method=mask and mask.value,
                classes=mask_classes,
                threshold=mask_threshold,
                dilate=mask_dilate,
                file=mask_file,
                weights=mask_weights,
            ),
            accept_offset=accept_offset,
            dry_run=dry_run,
            overwrite=overwrite,
            as_json=as_json,
            quiet=quiet,
        )
    )


@app.command()
def decode(
    archive: flags.Archive,
    output: flags.DecodeOutput,
    form: flags.Form = None,
    date: Annotated[str | None, typer.Option(metavar="DATE", help="Only this day.")] = None,
    start: flags.Start = None,
    end: flags.End = None,
    bands: flags.Bands = None,
    fill: Annotated[
        bool,
        typer.Option(
            "--fill",
            metavar="",
            help="Cloud-free: predictions under clouds, marked by a variable, filled.",
        ),
    ] = False,
    on_error: flags.OnErrorFlag = flags.OnError.stop,
    cache_dir: flags.CacheDir = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Decode an archive, or some of its dates and bands, to NetCDF or GeoTIFF.

    Pixels are DN (uint16, 0 = nodata). GeoTIFFs: one file per date and native grid, and the mask.

    \b
    Examples:
      stvc decode field.stvc -o field.nc
      stvc decode field.stvc -o cloudfree.nc --fill
      stvc decode field.stvc -o tiles/ --start 2020-05-01 --end 2020-09-30
      stvc decode field.stvc -o june.tif --date 2020-06-05 --bands B02,B03,B04
    """
    refuse_stdout(output)
    console.log_to_stderr(verbose, quiet=quiet)
    first, last = read_period(start, end)

    from stvc.cli import decode as work

    return work.decode(
        work.DecodeRequest(
            archive=archive,
            out=output,
            form=form,
            on_day=read_date(date, "--date"),
            start=first,
            end=last,
            bands=read_bands(bands),
            fill=fill,
            on_error=on_error.value,
            cache_dir=cache_dir,
            as_json=as_json,
            quiet=quiet,
        )
    )


@app.command()
def info(
    archive: flags.Archive,
    as_json: flags.Json = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            metavar="",
            show_default=False,
            help="One more row for every date.",
        ),
    ] = 0,
) -> int:
    """Print what an archive holds: dates, sizes, ratio, errors on clear pixels, settings.

    \b
    Examples:
      stvc info field.stvc
      stvc info field.stvc -v
      stvc info field.stvc --json | jq .ratio
    """
    from stvc.cli import info as work

    return work.info(archive, as_json=as_json, dates=verbose > 0)


@app.command()
def verify(
    archive: flags.Archive,
    cache_dir: flags.CacheDir = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> int:
    """Check every checksum, then decode everything; exit code 65 if anything is damaged.

    \b
    Examples:
      stvc verify field.stvc
      stvc verify field.stvc -q || echo damaged
      stvc verify field.stvc --json | jq -r .sha256
    """
    console.log_to_stderr(verbose, quiet=quiet)

    from stvc.cli import info as work

    return work.verify(archive, cache_dir=cache_dir, as_json=as_json, quiet=quiet)


background_command.register(app)
bundle_command.register(app)
config_command.register(app)
monitor_command.register(app)
export_command.register(app)
stac_command.register(app)
quicklook_command.register(app)
report_command.register(app)
compare_command.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program's name.

    Returns
    -------
    int
        The exit code; see `stvc.exit_codes.ExitCode`. Errors are told on stderr, in one line.
    """
    command = typer.main.get_command(app)
    try:
        returned = command.main(
            args=list(arguments) or ["--help"], prog_name="stvc", standalone_mode=False
        )
        sys.stdout.flush()
        if returned == ExitCode.INTERRUPTED:  # typer's answer to Ctrl-C, without a word
            console.error("interrupted")
        return int(returned or 0)
    except (KeyboardInterrupt, typer.Abort):
        console.error("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our stdout has left (`stvc info | head`): say no more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILURE
    except Exception as problem:
        if console.debugging():
            import traceback

            traceback.print_exc()
        return _tell(problem)


def _tell(problem: Exception) -> int:
    """Say in one line what went wrong, and return its exit code."""
    if isinstance(problem, StvcError):
        console.error(str(problem))
        return problem.exit_code
    if isinstance(problem, typer.TyperException):
        message = problem.format_message()
        console.error(message if "--help" in message else f"{message} (see stvc --help)")
        return problem.exit_code
    if isinstance(problem, OSError):
        console.error(
            f"{problem.filename}: {problem.strerror}" if problem.filename else str(problem)
        )
        missing = isinstance(problem, (FileNotFoundError, IsADirectoryError))
        return ExitCode.NO_INPUT if missing else ExitCode.IO_ERROR
    if isinstance(problem, MemoryError):
        console.error("out of memory; choose fewer dates or a smaller area")
        return ExitCode.IO_ERROR
    console.error(
        f"unexpected {type(problem).__name__}: {problem} (STVC_DEBUG=1 shows the traceback)"
    )
    return ExitCode.FAILURE


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    # torch's threads spin while they wait, which makes a busy machine many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:]))
