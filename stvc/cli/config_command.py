"""``stvc config``, declared."""

from __future__ import annotations

from typing import Annotated

import typer

from stvc.cli import flags

Cdse = Annotated[
    bool,
    flags.switch("--cdse", help="For the Copernicus Data Space Ecosystem."),
]
Main = Annotated[
    bool,
    flags.switch("--sentinel-hub", help="For Sentinel Hub's own service."),
]
Profile = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name of the profile; default: cdse or sentinel-hub."),
]
ClientId = Annotated[
    str | None, typer.Option(metavar="ID", help="OAuth client id, to be stored in the profile.")
]
SecretFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="File with the OAuth client secret, or - for stdin; stored in the profile.",
    ),
]
Overwrite = Annotated[bool, flags.switch("--overwrite", help="Replace a profile that differs.")]
WhichProfile = Annotated[
    str | None, typer.Option("--sh-profile", metavar="NAME", help="Profile to show.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    config = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    app.add_typer(
        config, name="config", help="Say where settings and credentials lie, and make a profile."
    )

    @config.command()
    def init(
        cdse: Cdse = False,
        sentinel_hub: Main = False,
        profile: Profile = None,
        client_id: ClientId = None,
        client_secret_file: SecretFile = None,
        overwrite: Overwrite = False,
        as_json: flags.Json = False,
        quiet: flags.Quiet = False,
    ) -> int:
        """Make a Sentinel Hub profile, and let stvc use it.

        Writes addresses only, unless credentials are given. Without them in the profile, set
        SH_CLIENT_ID and SH_CLIENT_SECRET. The package sentinelhub uses the same profiles.

        \b
        Examples:
          stvc config init --cdse
          stvc config init --cdse --client-id sh-0a1b2c --client-secret-file secret.txt
          pass show cdse | stvc config init --cdse --client-id sh-0a1b2c --client-secret-file -
        """  # noqa: D301 - typer reads backspace characters as "do not rewrap"
        from stvc.cli import config as work

        return work.init(
            cdse=cdse,
            sentinel_hub=sentinel_hub,
            profile=profile,
            client_id=client_id,
            secret_file=client_secret_file,
            overwrite=overwrite,
            as_json=as_json,
            quiet=quiet,
        )

    @config.command()
    def paths(as_json: flags.Json = False) -> int:
        """Print where stvc looks for settings, profiles, backgrounds and models.

        \b
        Examples:
          stvc config paths
          stvc config paths --json | jq -r .settings.path
        """  # noqa: D301
        from stvc.cli import config as work

        return work.paths(as_json=as_json)

    @config.command()
    def show(sh_profile: WhichProfile = None, as_json: flags.Json = False) -> int:
        """Print the settings in effect and where each comes from; credentials are masked.

        \b
        Examples:
          stvc config show
          stvc config show --sh-profile cdse
        """  # noqa: D301
        from stvc.cli import config as work

        return work.show(sh_profile, as_json=as_json)
