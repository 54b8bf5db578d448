"""Find, check and load entropy models.

Models are safetensors files ``<id>.safetensors`` in this package, or in a folder given by the user.
The id ends in a hash of the content, which is checked at load: an archive that names a model can
only ever be decoded with those very integers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc import config
from stvc.errors import ModelError
from stvc.model.architecture import NetworkConfig
from stvc.model.arithmetic import Arithmetic

if TYPE_CHECKING:
    from torch import Tensor

    from stvc.codec.rangecoder import Models
    from stvc.model.network import EntropyNetwork

PACKAGED = Path(__file__).parent / "weights"
DEFAULT_FILE = PACKAGED / "DEFAULT"
_FASTEST, _INT8 = "fastest", "int8"
_GENERATION_1 = {"references": 4, "candidates": 3}
# ^ files of that generation do not say so; their ids are hashes over a configuration without it


@dataclass(frozen=True)
class EntropyModel:
    """A loaded model: network, tables, and where it comes from."""

    model_id: str
    network: EntropyNetwork
    models: Models
    notes: dict[str, Any]

    @property
    def generation(self) -> int:
        """Of the codec that the model was trained for."""
        return 1 if self.network.config.references == 4 else 2


def default_model_id() -> str:
    """Id of the model that new archives use."""
    return DEFAULT_FILE.read_text().strip()


def model_folders() -> list[Path]:
    """Folders that are searched, first the user's (``STVC_MODEL_DIR``)."""
    mine = config.model_dir()
    return [PACKAGED] if mine is None else [mine, PACKAGED]


def installed() -> list[str]:
    """Ids of all installed models."""
    return sorted({p.stem for folder in model_folders() for p in folder.glob("*.safetensors")})


def content_hash(tensors: Mapping[str, Tensor], config: NetworkConfig) -> str:
    """sha256 over names, shapes, values and the configuration."""
    shape = {k: v for k, v in vars(config).items() if v != _GENERATION_1.get(k)}
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for name in sorted(tensors):
        values = tensors[name].numpy()
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def load_model(
    model_id: str | None = None, arithmetic: str | None = None, device: str = "cpu"
) -> EntropyModel:
    """Load a model, from a per-process cache if it is there.

    Raises
    ------
    ModelError
        If the model is not installed, or its file is damaged.
    """
    return _load(model_id or default_model_id(), arithmetic or config.arithmetic(), device)


def _network(
    tensors: Mapping[str, Tensor], shape: NetworkConfig, arithmetic: str, device: str
) -> EntropyNetwork:
    """Build a network on some arithmetic; all give the same bits."""
    from stvc.model.int8 import Int8Network, usable
    from stvc.model.network import EntropyNetwork

    if arithmetic == _INT8 or (arithmetic == _FASTEST and device == "cpu" and usable()):
        try:
            return Int8Network(tensors, shape)
        except OverflowError:
            pass
    name = "float32" if arithmetic in (_FASTEST, _INT8) else arithmetic
    return EntropyNetwork(tensors, shape, Arithmetic(name), device)


@lru_cache(maxsize=4)
def _load(model_id: str, arithmetic: str, device: str) -> EntropyModel:
    from safetensors import SafetensorError, safe_open

    from stvc.codec.rangecoder import Models
    from stvc.codec.tables import Tables

    for folder in model_folders():
        path = folder / f"{model_id}.safetensors"
        if path.is_file():
            break
    else:
        raise ModelError(
            f"entropy model {model_id!r} is not installed "
            f"(found: {', '.join(installed()) or 'none'}); put its .safetensors file into a "
            "folder and name that folder in STVC_MODEL_DIR"
        )
    try:
        with safe_open(path, "pt") as file:
            notes = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        shape = NetworkConfig(**{**_GENERATION_1, **json.loads(notes["config"])})
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ModelError(
            f"entropy model file {path} cannot be read ({error}); install it again"
        ) from None
    digest = content_hash(tensors, shape)
    if not model_id.endswith(digest[:8]):
        raise ModelError(
            f"entropy model file {path} is damaged: content hash {digest[:8]} does not end "
            "its id; install it again"
        )
    tables = Tables(tensors["tables.frequencies"].numpy(), tensors["tables.starts"].numpy())
    network = _network(tensors, shape, arithmetic, device)
    return EntropyModel(model_id, network, Models(tables), notes)
