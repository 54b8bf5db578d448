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
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from stvc import config
from stvc.codec.generations import NEWEST
from stvc.errors import ModelError
from stvc.model.architecture import NetworkConfig
from stvc.model.arithmetic import Arithmetic
from stvc.model.fast_architecture import FastConfig

if TYPE_CHECKING:
    from torch import Tensor

    from stvc.codec.rangecoder import Models
    from stvc.codec.readers import Listener
    from stvc.model.fast import FastNetwork
    from stvc.model.network import EntropyNetwork

PACKAGED = Path(__file__).parent / "weights"
_DEFAULTS = {"default": "DEFAULT", "fast": "FAST"}
_FASTEST, _INT8 = "fastest", "int8"
_GENERATION_1 = {"references": 4, "candidates": 3}
# ^ files of that generation do not say so; their ids are hashes over a configuration without it


@dataclass(frozen=True)
class EntropyModel:
    """A loaded model: network, tables, and where it comes from."""

    model_id: str
    network: EntropyNetwork | FastNetwork
    models: Models
    notes: dict[str, Any]
    listener: Listener | None = None
    """Is told of all that is read with the model."""

    @property
    def generation(self) -> int:
        """Newest one of the codec that the model serves."""
        config = self.network.config
        if isinstance(config, NetworkConfig) and config.references == _GENERATION_1["references"]:
            return 1
        return NEWEST

    def serves(self, generation: int) -> bool:
        """Whether archives of a generation may name the model."""
        return generation == 1 if self.generation == 1 else generation > 1

    @property
    def fast_network(self) -> FastNetwork:
        """The network of a model of effort ``fast``."""
        return cast("FastNetwork", self.network)

    @property
    def large_network(self) -> EntropyNetwork:
        """The network of a model of effort ``default``."""
        return cast("EntropyNetwork", self.network)

    @property
    def effort(self) -> str:
        """What the model stands for: ``default``, or ``fast``."""
        return "fast" if isinstance(self.network.config, FastConfig) else "default"


def default_model_id(effort: str = "default") -> str:
    """Id of the model that new archives of an effort use."""
    return (PACKAGED / _DEFAULTS[effort]).read_text().strip()


def model_folders() -> list[Path]:
    """Folders that are searched, first the user's (``STVC_MODEL_DIR``)."""
    mine = config.model_dir()
    return [PACKAGED] if mine is None else [mine, PACKAGED]


def installed() -> list[str]:
    """Ids of all installed models."""
    return sorted({p.stem for folder in model_folders() for p in folder.glob("*.safetensors")})


def content_hash(tensors: Mapping[str, Tensor], config: NetworkConfig | FastConfig) -> str:
    """sha256 over names, shapes, values and the configuration."""
    unsaid = _GENERATION_1 if isinstance(config, NetworkConfig) else {}
    shape = {k: v for k, v in vars(config).items() if v != unsaid.get(k)}
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for name in sorted(tensors):
        values = tensors[name].numpy()
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def load_model(
    model_id: str | None = None, arithmetic: str | None = None, device: str | None = None
) -> EntropyModel:
    """Load a model, from a per-process cache if it is there.

    Raises
    ------
    ModelError
        If the model is not installed, or its file is damaged.
    """
    where = config.device() if device is None else device
    return _load(model_id or default_model_id(), arithmetic or config.arithmetic(), where)


def model_for(effort: str) -> EntropyModel:
    """Load the model that new archives of an effort (``default`` or ``fast``) use."""
    return load_model(default_model_id(effort))


def _network(
    tensors: Mapping[str, Tensor], shape: NetworkConfig | FastConfig, arithmetic: str, device: str
) -> EntropyNetwork | FastNetwork:
    """Build a network on some arithmetic; all give the same bits."""
    from stvc.model.fast import FastInt8Network, FastNetwork
    from stvc.model.int8 import Int8Network, usable
    from stvc.model.network import EntropyNetwork

    if arithmetic == _INT8 or (arithmetic == _FASTEST and device == "cpu" and usable()):
        try:
            if isinstance(shape, FastConfig):
                return FastInt8Network(tensors, shape)
            return Int8Network(tensors, shape)
        except OverflowError:
            pass
    how = Arithmetic("float32" if arithmetic in (_FASTEST, _INT8) else arithmetic)
    if isinstance(shape, FastConfig):
        return FastNetwork(tensors, shape, how, device)
    return EntropyNetwork(tensors, shape, how, device)


def _shape_of(stored: Mapping[str, Any]) -> NetworkConfig | FastConfig:
    """Configuration as a model file tells it."""
    if stored.get("kind") == FastConfig.kind:
        return FastConfig(**stored)
    return NetworkConfig(**{**_GENERATION_1, **stored})


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
        shape = _shape_of(json.loads(notes["config"]))
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
