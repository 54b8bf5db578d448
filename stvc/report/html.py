"""Self-contained pages: style and script inlined, and allowed by their hashes alone."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from importlib.resources import files
from typing import Any


def fill(template: str, *, script: str | None, data: Any, **values: Any) -> str:
    """Render a template with its style and script inlined and allowed by their hashes alone.

    Parameters
    ----------
    template : str
        Name in the package's ``assets``.
    script : str or None
        Name of its script; None: a page without one.
    data : object
        JSON for the script; text in it cannot end the element that holds it.
    **values
        For the template; Jinja escapes them.
    """
    import jinja2

    assets = files("stvc.report") / "assets"
    style = (assets / "report.css").read_text("utf-8")
    code = (assets / script).read_text("utf-8") if script else ""
    policy = [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{_sha256(style)}'",
        f"script-src 'sha256-{_sha256(code)}'" if code else "script-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stvc.report", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        policy="; ".join(policy),
        style=_Raw(style),
        script=_Raw(code),
        data=_Raw(_embedded(data)),
        **values,
    )


class _Raw(str):
    """Text of our own that is not to be escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(data: Any) -> str:
    text = json.dumps(finite(data), separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def finite(value: Any) -> Any:
    """Turn numpy values into JSON's own, and what is not finite into null."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if hasattr(value, "tolist"):
        return finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
