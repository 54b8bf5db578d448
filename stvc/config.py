"""The user's settings: ``STVC_...`` environment variables, and a ``config.toml``.

``STVC_CACHE_DIR``, ``STVC_MODEL_DIR``, ``STVC_ARITHMETIC``, ``STVC_DEVICE``, ``STVC_NATIVE``,
``STVC_THREADS``, and ``STVC_CONFIG``: another file.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from stvc.errors import ConfigError


def cache_dir() -> Path:
    """Folder of cached historical backgrounds: ``STVC_CACHE_DIR`` or the user's cache folder."""
    mine = os.environ.get("STVC_CACHE_DIR")
    if mine:
        return Path(mine)
    from stvc.background.cache import default_cache_dir

    return default_cache_dir()


def model_dir() -> Path | None:
    """Folder with models of the user's own (``STVC_MODEL_DIR``), searched before the package's."""
    mine = os.environ.get("STVC_MODEL_DIR")
    return Path(mine) if mine else None


def arithmetic() -> str:
    """How integers are multiplied: ``STVC_ARITHMETIC``.

    ``int8``, ``float32``, ``int32``, or ``fastest`` (default): 8-bit products where the processor
    does them right and faster. All give the same bits; the choice is there to prove it.
    """
    return os.environ.get("STVC_ARITHMETIC") or "fastest"


def native() -> bool:
    """Whether native kernels are used where they were built: ``STVC_NATIVE``, 1 (default) or 0.

    The bits are the same either way.
    """
    return os.environ.get("STVC_NATIVE") != "0"


def device() -> str:
    """Where the entropy model runs: ``STVC_DEVICE``, ``cpu`` (default) or ``cuda``, ``cuda:1``.

    The bits are the same everywhere.

    Raises
    ------
    ConfigError
        If it is something else, or a GPU that torch does not see.
    """
    name = os.environ.get("STVC_DEVICE") or "cpu"
    kind, _, number = name.partition(":")
    if name == "cpu":
        return name
    if kind != "cuda" or (":" in name and not (number.isascii() and number.isdigit())):
        raise ConfigError(f"STVC_DEVICE={name!r}; choose cpu, cuda or cuda:N")
    import torch

    if int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"STVC_DEVICE={name!r}, but torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return name


def config_path() -> Path:
    """The user's settings file: ``STVC_CONFIG``, or ``config.toml`` in the user's config folder."""
    mine = os.environ.get("STVC_CONFIG")
    if mine:
        return Path(mine)
    from platformdirs import user_config_path

    return user_config_path("stvc") / "config.toml"


def user_config() -> dict[str, Any]:
    """Read the user's settings file.

    Returns
    -------
    dict
        Its tables; empty if there is no file.

    Raises
    ------
    ConfigError
        If it cannot be read, is not TOML, or ``STVC_CONFIG`` names a file that is not there.
    """
    path = config_path()
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        if os.environ.get("STVC_CONFIG"):
            raise ConfigError(f"STVC_CONFIG names {path}, which does not exist") from None
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def user_setting(table: str, key: str) -> tuple[Any, str]:
    """Look one setting of the user's file up.

    Returns
    -------
    tuple of (value or None, str)
        The value, None if it is not set, and where it comes from.

    Raises
    ------
    ConfigError
        If the file cannot be used, or `table` is no table in it.
    """
    found = user_config().get(table, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{config_path()}: {table} is {found!r}, want a table [{table}]")
    return found.get(key), str(config_path())
