"""Where a Sentinel Hub service is reached and with which credentials: profile, environment, flag.

Profiles are those of the package sentinelhub (``$XDG_CONFIG_HOME/sentinelhub/config.toml``), so
that one login serves both. They are read here and not by ``SHConfig()``, which would write a file
with its defaults if there is none.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from stvc.config import user_setting
from stvc.errors import ConfigError

MAIN_URL = "https://services.sentinel-hub.com"
CDSE_URL = "https://sh.dataspace.copernicus.eu"
TOKEN_URLS = {
    MAIN_URL: f"{MAIN_URL}/auth/realms/main/protocol/openid-connect/token",
    CDSE_URL: "https://identity.dataspace.copernicus.eu/auth/realms/CDSE"
    "/protocol/openid-connect/token",
}
"""Token address of each known service."""

DEFAULT_PROFILE = "default-profile"
"""What the package sentinelhub calls the profile that is used if none is named."""

_FIELDS = {
    "base_url": ("SH_BASE_URL", "sh_base_url"),
    "token_url": ("SH_TOKEN_URL", "sh_token_url"),
    "client_id": ("SH_CLIENT_ID", "sh_client_id"),
    "client_secret": ("SH_CLIENT_SECRET", "sh_client_secret"),
}
"""Per setting: environment variable, and key in a profile."""


@dataclass(frozen=True)
class ServiceConfig:
    """A Sentinel Hub service and the credentials for it."""

    profile: str
    """Name of the profile, whether or not it exists."""
    base_url: str
    """Address of the API, without a slash at its end."""
    token_url: str
    """Where credentials are exchanged for a token."""
    client_id: str = field(repr=False)
    """OAuth client id; empty if there is none."""
    client_secret: str = field(repr=False)
    """OAuth client secret; empty if there is none."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Per setting: where it comes from."""

    def redact(self, text: str, *more: str) -> str:
        """Blank the credentials out of a text, and shorten it to one line.

        Parameters
        ----------
        text : str
            What a service or a library said.
        *more : str
            Other words to blank out, such as a token.

        Returns
        -------
        str
        """
        spelled = set()
        for secret in filter(None, (self.client_secret, self.client_id, *more)):
            # A service may quote what it was sent as it came over the wire.
            spelled |= {secret, quote(secret, safe=""), quote_plus(secret), quote(secret)}
            spelled |= {json.dumps(secret)[1:-1], repr(secret)[1:-1]}
        for secret in sorted(spelled, key=len, reverse=True):
            text = text.replace(secret, "***")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= 300 else line[:297] + "..."


def profiles_path() -> Path:
    """Where the package sentinelhub keeps its profiles."""
    folder = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(folder) / "sentinelhub" / "config.toml"


def mask(secret: str) -> str:
    """Show of a credential only that it is there, and how it ends if it is long."""
    if not secret:
        return "(not set)"
    return "********" + (secret[-4:] if len(secret) >= 20 else "")


def service_config(profile: str | None = None) -> ServiceConfig:
    """Find out which service to ask, and with which credentials.

    Parameters
    ----------
    profile : str or None
        None: ``SH_PROFILE``, else the user's ``config.toml``, else ``default-profile``.

    Returns
    -------
    ServiceConfig
        Each setting from the environment, else from the profile, else from the main service's
        defaults.

    Raises
    ------
    ConfigError
        If a named profile does not exist, a file is not TOML, an address is no https address, or
        one half of the credentials is missing.
    """
    name, named_by = _profile_name(profile)
    path = profiles_path()
    stored = _profile(path, name, named_by)
    found: dict[str, str] = {}
    origins = {"profile": named_by or "default"}
    for setting, (variable, key) in _FIELDS.items():
        if os.environ.get(variable):
            found[setting], origins[setting] = os.environ[variable], f"environment {variable}"
        elif stored.get(key):
            found[setting], origins[setting] = stored[key], f"profile {name} in {path}"
    if ("client_id" in found) != ("client_secret" in found):
        missing = "client_secret" if "client_id" in found else "client_id"
        raise ConfigError(
            f"half of the Sentinel Hub credentials is missing: set {_FIELDS[missing][0]} too, or "
            f"{_FIELDS[missing][1]} in {path}"
        )
    halves = [origins[half] for half in ("client_id", "client_secret") if half in origins]
    if len({origin.partition(" ")[0] for origin in halves}) > 1:
        raise ConfigError(
            f"the Sentinel Hub client id comes from the {halves[0]} and its secret from the "
            f"{halves[1]}; give both in one place"
        )
    base_url = found.get("base_url", MAIN_URL).rstrip("/")
    token_url = found.get("token_url") or TOKEN_URLS.get(base_url, TOKEN_URLS[MAIN_URL])
    check_url("base address", base_url)
    check_url("token address", token_url)
    return ServiceConfig(
        profile=name,
        base_url=base_url,
        token_url=token_url,
        client_id=found.get("client_id", ""),
        client_secret=found.get("client_secret", ""),
        origins={key: origins.get(key, "default") for key in ("profile", *_FIELDS)},
    )


def check_url(what: str, url: str) -> None:
    """Refuse addresses over which credentials must not travel.

    Raises
    ------
    ConfigError
        If it is not https (loopback may be http), or has credentials in it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"Sentinel Hub {what} is no address: {error}") from None
    if parts.username or parts.password:
        raise ConfigError(
            f"the Sentinel Hub {what} has a user name or password in it; leave them out"
        )
    loopback = host in ("localhost", "127.0.0.1", "::1")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise ConfigError(
            f"Sentinel Hub {what} {url!r} is not an https address: credentials would travel in the "
            "open; write https://..."
        )


def _profile_name(asked: str | None) -> tuple[str, str]:
    """The profile's name and who named it; '' if nobody did."""
    if asked:
        return asked, "--sh-profile"
    if os.environ.get("SH_PROFILE"):
        return os.environ["SH_PROFILE"], "environment SH_PROFILE"
    setting, origin = user_setting("sentinelhub", "profile")
    if setting is not None:
        if not isinstance(setting, str) or not setting:
            raise ConfigError(f"{origin}: sentinelhub.profile is {setting!r}, want a name")
        return setting, origin
    return DEFAULT_PROFILE, ""


def _profile(path: Path, name: str, named_by: str) -> dict[str, str]:
    profiles = read_profiles(path)
    if name not in profiles:
        if not named_by:
            return {}
        there = ", ".join(profiles) or "no profile"
        raise ConfigError(
            f"Sentinel Hub profile {name!r} ({named_by}) is not in {path}, which has {there}; "
            "make one: stvc config init --cdse"
        )
    stored = profiles[name]
    wrong = [key for _, key in _FIELDS.values() if not isinstance(stored.get(key, ""), str)]
    if wrong:
        raise ConfigError(f"{path}: {wrong[0]} of profile {name!r} is not a text; put it in quotes")
    return {key: str(stored[key]) for _, key in _FIELDS.values() if key in stored}


def read_profiles(path: Path) -> dict[str, dict[str, Any]]:
    """Read all profiles of the package sentinelhub.

    Returns
    -------
    dict
        Empty if there is no file.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not TOML. Says where, but never quotes the file.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # from None, and the position only: the line itself may hold the secret.
        place = str(error)[str(error).rfind("(") :] if "(" in str(error) else ""
        raise ConfigError(f"{path} is not TOML {place}".rstrip()) from None
    return {name: table for name, table in tables.items() if isinstance(table, dict)}
