"""The job's TOML file: which fields are monitored, and how."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvc.errors import ConfigError
from stvc.monitor.outlines import Outline, outline, read_outlines
from stvc.monitor.settings import (
    FieldSettings,
    check_quality,
    overlay,
    read_settings,
    unknown_key,
)

MAX_TOML_BYTES = 20_000_000

_TOP = ("archives", "cache_dir", "defaults", "sources", "fields", "settings")
_OWN = ("id", "id_property", "file", "geometry")


@dataclass(frozen=True)
class Field:
    """One field of a job."""

    id: str
    """Names the field and its archive."""
    geometry: str
    """GeoJSON text, not yet checked."""
    settings: FieldSettings
    problem: str | None
    """Why it cannot be monitored, or None."""


@dataclass(frozen=True)
class Job:
    """What a TOML file of fields says."""

    path: Path
    """The file."""
    archives: Path
    """Folder of the archives."""
    cache_dir: Path | None
    """Cache of backgrounds; None = the user's."""
    fields: tuple[Field, ...]
    """In the order of the file."""

    def archive(self, field: Field) -> Path:
        """Path of a field's archive."""
        return self.archives / f"{field.id}.stvc"


def read_job(path: Path, *, look_back: int | None = None) -> Job:
    """Read a file of fields.

    Parameters
    ----------
    path : Path
        TOML; see ``examples/fields.toml``. Paths in it are relative to its folder.
    look_back : int, optional
        Days; used for all fields in place of what the file says.

    Returns
    -------
    Job

    Raises
    ------
    ConfigError
        If the file cannot be read or says something that makes no sense; the message names the
        place. A single field's unusable shape or name is kept as its `Field.problem` instead.
    """
    top = _load(path)
    for key in top:
        if key not in _TOP:
            raise unknown_key(key, _TOP, str(path))
    base = path.resolve().parent
    sources = _table(top, "sources", str(path))
    for name, options in sources.items():
        if not isinstance(options, dict):
            raise ConfigError(
                f"{path}: sources.{name} = {options!r}; want a table [sources.{name}]"
            )
    defaults = read_settings(_table(top, "defaults", str(path)), f"{path}: defaults")
    single = {
        name: read_settings(
            _as_table(table, f"{path}: settings.{name}"), f"{path}: settings.{name}"
        )
        for name, table in _table(top, "settings", str(path)).items()
    }
    entries = top.get("fields")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: names no field; add a table [[fields]] with file or geometry")
    fields: list[Field] = []
    for number, entry in enumerate(entries, 1):
        where = f"{path}: fields {number}"
        entry = _as_table(entry, where)
        own = read_settings({k: v for k, v in entry.items() if k not in _OWN}, where)
        for shape in _outlines(entry, base, where):
            values = overlay(defaults, own, single.get(shape.id, {}))
            if look_back is not None:
                values["look_back"] = look_back
            shared = sources.get(values.get("source", FieldSettings.source), {})
            values["options"] = _options({**shared, **values.get("options", {})}, base)
            if "mask" in values:
                values["mask"] = _options(values["mask"], base)
            settings = FieldSettings(**values)
            fields.append(Field(shape.id, shape.geometry, settings, shape.problem))
    _check(path, fields, single)
    return Job(
        path,
        base / _path(top, "archives", str(path), "archives"),
        base / _path(top, "cache_dir", str(path), "") if "cache_dir" in top else None,
        tuple(fields),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.is_file() and path.stat().st_size > MAX_TOML_BYTES:
            raise ConfigError(
                f"{path}: larger than {MAX_TOML_BYTES // 1_000_000} MB; name files of outlines "
                "in it instead of drawing them"
            )
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from None


def _table(top: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    return _as_table(top.get(key, {}), f"{where}: {key}")


def _as_table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is {str(value)[:40]!r}, want a table of settings")
    return value


def _path(top: Mapping[str, Any], key: str, where: str, default: str) -> Path:
    value = top.get(key, default)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError(f"{where}: {key} = {value!r}; want a path in quotes")
    return Path(value).expanduser()


def _options(options: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Options of a source or mask; ``./`` and ``../`` paths are meant from the file's folder."""

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(item) for item in value]
        here = isinstance(value, str) and value.startswith(("./", "../"))
        return str(base / value) if here else value

    return {key: placed(value) for key, value in options.items()}


def _outlines(entry: Mapping[str, Any], base: Path, where: str) -> list[Outline]:
    """Fields that one entry names."""
    if ("file" in entry) == ("geometry" in entry):
        raise ConfigError(f"{where}: want either file or geometry")
    name = entry.get("id")
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"{where}: id = {name!r}; want a name in quotes")
    if "geometry" in entry:
        if name is None:
            raise ConfigError(f"{where}: a geometry needs an id beside it")
        geometry = entry["geometry"]
        if not isinstance(geometry, str | dict):
            raise ConfigError(
                f"{where}: geometry = {str(geometry)[:40]!r}; want a GeoJSON geometry"
            )
        return [outline(name, geometry if isinstance(geometry, str) else json.dumps(geometry))]
    id_property = entry.get("id_property")
    if id_property is not None and (not isinstance(id_property, str) or name is not None):
        raise ConfigError(f"{where}: want id_property (a name in quotes) or id, not both")
    found = read_outlines(base / _path(entry, "file", where, ""), id_property)
    if name is None:
        return found
    if len(found) > 1:
        raise ConfigError(
            f"{where}: id names one field, {entry['file']} holds {len(found)}; use id_property"
        )
    return [outline(name, found[0].geometry)]


def _check(path: Path, fields: list[Field], single: Mapping[str, Any]) -> None:
    """Check what only shows once all fields are known."""
    from stvc.source import names

    seen: dict[str, Field] = {}
    checked: set[Any] = set()
    for field in fields:
        settings = field.settings
        if settings.source not in names():
            raise ConfigError(
                f"{path}: field {field.id}: source {settings.source!r} is unknown; choose from "
                f"{', '.join(names())}"
            )
        quality = (*settings.encode_arguments().values(), settings.start, settings.end)
        if quality not in checked:
            check_quality(settings, f"{path}: field {field.id}")
            checked.add(quality)
        if field.problem is not None:
            continue
        # Also where file systems ignore case, no two fields may share one archive.
        other = seen.setdefault(field.id.casefold(), field)
        if other is not field:
            raise ConfigError(
                f"{path}: two fields, {other.id!r} and {field.id!r}, would share one archive; "
                "ids must be unique, whatever their case"
            )
    ids = {field.id for field in seen.values()}
    lost = [name for name in single if name not in ids]
    if lost:
        raise ConfigError(f"{path}: settings.{lost[0]} is for a field that is not there")
