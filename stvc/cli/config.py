"""``stvc config``: where settings lie, what they are, and a first profile."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import typer

from stvc import native
from stvc.config import arithmetic, cache_dir, config_path, model_dir, user_config
from stvc.console import emit_json, note
from stvc.errors import ConfigError
from stvc.exit_codes import ExitCode
from stvc.service_config import (
    CDSE_URL,
    MAIN_URL,
    TOKEN_URLS,
    mask,
    profiles_path,
    read_profiles,
    service_config,
)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def init(
    *,
    cdse: bool,
    sentinel_hub: bool,
    profile: str | None,
    client_id: str | None,
    secret_file: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Write a profile, and name it in the user's settings if those name none.

    Returns
    -------
    ExitCode
        ``OK``, also if the profile is there and the same.

    Raises
    ------
    ConfigError
        If a file cannot be used, or another profile of that name is there.
    typer.BadParameter
        If the flags are of no use together.
    """
    if cdse == sentinel_hub:
        raise typer.BadParameter("give one of --cdse and --sentinel-hub", param_hint="service")
    if (client_id is None) != (secret_file is None):
        raise typer.BadParameter(
            "come together; give both or none", param_hint="--client-id, --client-secret-file"
        )
    name = profile or ("cdse" if cdse else "sentinel-hub")
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(
            f"{name!r} is no profile name; use letters, digits, - and _", param_hint="--profile"
        )
    base_url = CDSE_URL if cdse else MAIN_URL
    wanted = {"sh_base_url": base_url, "sh_token_url": TOKEN_URLS[base_url]}
    if client_id is not None and secret_file is not None:
        wanted |= {"sh_client_id": client_id, "sh_client_secret": _read_secret(secret_file)}
    path = profiles_path()
    profiles = read_profiles(path)
    there = profiles.get(name)
    if there is None or there != wanted:
        if there is not None and not overwrite:
            differ = [k for k in {**there, **wanted} if there.get(k) != wanted.get(k)]
            raise ConfigError(
                f"profile {name!r} in {path} has another {', '.join(sorted(differ))}; "
                "replace it with --overwrite, or choose another --profile"
            )
        _write_profile(path, name, wanted, profiles)
    named = _name_in_settings(name)
    if as_json:
        emit_json(
            {
                "command": "config init",
                "profile": name,
                "profiles": path,
                "settings": config_path(),
                "default": named,
                "credentials": client_id is not None,
            }
        )
    elif not quiet:
        note(f"profile {name} is in {path}" + (f", named in {config_path()}" if named else ""))
        if client_id is None and "sh_client_id" not in (there or {}):
            note("credentials: set SH_CLIENT_ID and SH_CLIENT_SECRET, or run it with --client-id")
    return ExitCode.OK


def paths(*, as_json: bool) -> ExitCode:
    """Print where stvc looks for what."""
    found = {
        "settings": config_path(),
        "profiles": profiles_path(),
        "backgrounds": cache_dir(),
        "models": model_dir() or "(only those of the package)",
    }
    if as_json:
        emit_json(
            {
                "command": "config paths",
                **{
                    what: {"path": path, "exists": isinstance(path, Path) and path.exists()}
                    for what, path in found.items()
                },
            }
        )
        return ExitCode.OK
    for what, path in found.items():
        missing = isinstance(path, Path) and not path.exists()
        print(f"{what:12} {path}{'  (not there)' if missing else ''}")
    return ExitCode.OK


def show(profile: str | None, *, as_json: bool) -> ExitCode:
    """Print settings with their origins; of credentials only that they are there."""
    service = service_config(profile)
    rows: dict[str, tuple[str, str]] = {
        "cache_dir": (str(cache_dir()), _variable("STVC_CACHE_DIR")),
        "model_dir": (str(model_dir() or "(not set)"), _variable("STVC_MODEL_DIR")),
        "arithmetic": (arithmetic(), _variable("STVC_ARITHMETIC")),
        "native_kernels": (native.status, _variable("STVC_NATIVE")),
        "sentinelhub.profile": (service.profile, service.origins["profile"]),
        "sentinelhub.base_url": (service.base_url, service.origins["base_url"]),
        "sentinelhub.token_url": (service.token_url, service.origins["token_url"]),
        "sentinelhub.client_id": (mask(service.client_id), service.origins["client_id"]),
        "sentinelhub.client_secret": (
            "******** (set)" if service.client_secret else "(not set)",
            service.origins["client_secret"],
        ),
    }
    if as_json:
        emit_json(
            {
                "command": "config show",
                **{
                    name: {"value": value, "from": origin} for name, (value, origin) in rows.items()
                },
            }
        )
        return ExitCode.OK
    for name, (value, origin) in rows.items():
        print(f"{name:26} {value}  [{origin}]")
    return ExitCode.OK


def _variable(name: str) -> str:
    return f"environment {name}" if os.environ.get(name) else "default"


def _read_secret(where: str) -> str:
    try:
        text = sys.stdin.read(10_000) if where == "-" else Path(where).read_text("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{where} is not a text file; want the client secret in it") from None
    secret = text.strip()
    if not secret or not secret.isprintable() or " " in secret:
        origin = "standard input" if where == "-" else where
        raise ConfigError(f"{origin} holds no client secret; want one line, nothing else")
    return secret


def _write_profile(
    path: Path, name: str, wanted: dict[str, str], profiles: dict[str, dict[str, Any]]
) -> None:
    """Add or replace a profile, leaving what else is in the file."""
    import tomli_w

    text = path.read_text("utf-8") if path.exists() else ""
    if name in profiles:
        import tomllib

        # Comments are lost here: the file is written anew from what it says.
        text = tomli_w.dumps({**tomllib.loads(text), name: wanted})
    else:
        text += ("\n" if text and not text.endswith("\n\n") else "") + tomli_w.dumps({name: wanted})
    _replace_file(path, text)


def _name_in_settings(name: str) -> bool:
    """Let the user's settings name the profile; False if they name another one already."""
    path = config_path()
    settings = user_config() if path.exists() else {}
    table = settings.get("sentinelhub", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: sentinelhub is {table!r}, want a table [sentinelhub]")
    if table.get("profile") is not None:
        return bool(table["profile"] == name)
    text = path.read_text("utf-8") if path.exists() else ""
    if "sentinelhub" in settings:
        import tomli_w

        text = tomli_w.dumps({**settings, "sentinelhub": {**table, "profile": name}})
    else:
        text += ("\n" if text else "") + f'[sentinelhub]\nprofile = "{name}"\n'
    _replace_file(path, text)
    return True


def _replace_file(path: Path, text: str) -> None:
    """Write a file that only the user may read, whole or not at all."""
    target = path.resolve()  # a link, as dotfile collections have them, stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
