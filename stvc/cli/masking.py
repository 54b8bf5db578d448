"""How ``stvc encode`` asks a source for a mask, and keeps to the rule that an archive has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from stvc.masks import MaskRule
from stvc.masks.choice import MaskChoice, rule_conflict
from stvc.source import takes


def mask_option(source: str, choice: MaskChoice, kind: str | None) -> dict[str, Any]:
    """Tell which of its masks a source is to bring along.

    Parameters
    ----------
    source : str
        Its name.
    choice : MaskChoice
        What was asked for.
    kind : str or None
        The mask rule of the archive to append to; None = there is none yet.

    Returns
    -------
    dict
        The source's option ``mask``, or nothing.
    """
    wanted = choice.variable or (None if kind is None else MaskRule.parse(kind).variable)
    if wanted in ("SCL", "CLP") and choice.method != "s2cloudless" and takes(source, "mask"):
        return {"mask": wanted.lower()}
    return {}


def check_rule(kind: str, choice: MaskChoice, archive: object) -> None:
    """Refuse flags that contradict the mask rule of an archive.

    Raises
    ------
    typer.BadParameter
        With the flag, and with what the archive has; also if the archive's mask was made by a
        classifier, or from a raster, that must be named again.
    """
    wrong = rule_conflict(kind, choice)
    if wrong is not None:
        raise typer.BadParameter(
            f"{wrong} contradicts the archive, whose mask is {kind}; leave it out, or start anew "
            "with --overwrite",
            param_hint=str(archive),
        )
    if choice.method is None and MaskRule.parse(kind).variable == "OCM":
        raise typer.BadParameter(
            "the archive's mask is made by omnicloudmask; say so again: --mask omnicloudmask "
            "--mask-weights DIR",
            param_hint=str(archive),
        )


def archive_kind(info: Mapping[str, Any]) -> str:
    """Read an archive's mask rule from what `Archive.info` tells."""
    return str((info.get("mask") or {}).get("kind", "none"))
