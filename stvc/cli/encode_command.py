"""``stvc encode``, declared."""

from __future__ import annotations

from typing import Annotated

import typer

from stvc import console
from stvc.cli import flags, source_flags
from stvc.cli.options import QualityFlags, given_options, read_bands, read_period, refuse_stdout


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(encode)


def encode(
    aoi: flags.Aoi = None,
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
    """  # noqa: D301
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
