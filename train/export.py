"""Turn a checkpoint into integer weights with a model id, ready to be installed.

    python train/export.py checkpoints/run/checkpoint.pt stvc/model/weights --name ct1

Writes ``NAME-HASH.safetensors``; the hash of the content is the end of the model id.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from qat import Attention, ConditionalTransformer, IntLinear, row_bits
from safetensors.torch import save

from stvc.codec.tables import build_tables
from stvc.model.architecture import ACTIVATION_BITS, POSITION_LIMIT, NetworkConfig
from stvc.model.fast_architecture import FastConfig
from stvc.model.network import EXP_STEPS
from stvc.model.weights import content_hash

_ACCUMULATOR = 1 << 23
_FAINT = 0.05


def integer_linear(layer: IntLinear) -> dict[str, torch.Tensor]:
    """Round one layer; refuses weights whose sums could leave exact float32."""
    bits = row_bits(layer.weight)
    weight = (layer.weight.detach() * torch.exp2(bits.float())[:, None]).round().clamp(-127, 127)
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach()
    bias = (bias * torch.exp2(bits.float() + ACTIVATION_BITS)).round()
    bound = weight.abs().sum(1) * 127 + bias.abs()
    if float(bound.max()) >= _ACCUMULATOR:
        raise SystemExit(
            f"a row could sum to {float(bound.max()):.0f} >= 2**23; lower its bias or width"
        )
    return {
        "weight": weight.to(torch.int8),
        "bias": bias.to(torch.int32),
        "bits": bits.to(torch.int8),
    }


def named_layers(
    net: ConditionalTransformer,
) -> tuple[dict[str, IntLinear], dict[str, torch.nn.Parameter]]:
    """Linear layers and position tables of a network under their exported names."""
    layers: dict[str, IntLinear] = {"embed": net.embed}
    positions: dict[str, torch.nn.Parameter] = {}

    def attention(name: str, module: Attention) -> None:
        layers[f"{name}.query"] = module.query
        layers[f"{name}.keyvalue"] = module.keyvalue
        layers[f"{name}.out"] = module.out
        positions[f"{name}.position"] = module.position

    for k, (attend, mlp) in enumerate(zip(net.trunk_attention, net.trunk_mlp, strict=True)):
        attention(f"trunk.{k}", attend)
        layers |= {f"trunk.{k}.up": mlp.up, f"trunk.{k}.down": mlp.down}
    for g, step in enumerate(net.steps):
        attention(f"step.{g}", step.attention)
        layers |= {f"step.{g}.up": step.mlp.up, f"step.{g}.down": step.mlp.down}
        layers |= {f"step.{g}.head": step.head, f"step.{g}.embed": step.embed}
    return layers, positions


def load_integers(net: ConditionalTransformer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Set a network to exported integers: training goes on from a shipped model.

    The optimizer's state and the mixture's two parameters are not in an exported model; they
    settle again within some hundred steps. Trunk layers that the model lacks begin by adding
    hardly anything.
    """
    layers, positions = named_layers(net)
    with torch.no_grad():
        for name, layer in layers.items():
            if f"{name}.weight" not in tensors and name.startswith("trunk."):
                if name.endswith((".out", ".down")):
                    layer.weight.mul_(_FAINT)
                continue
            scale = torch.exp2(-tensors[f"{name}.bits"].float())
            layer.weight.copy_(tensors[f"{name}.weight"].float() * scale[:, None])
            if layer.bias is not None:
                unit = scale / (1 << ACTIVATION_BITS)
                layer.bias.copy_(tensors[f"{name}.bias"].float() * unit)
        for name, position in positions.items():
            if name in tensors:
                position.copy_(tensors[name].float() / (1 << ACTIVATION_BITS))


def integer_tensors(net: ConditionalTransformer) -> dict[str, torch.Tensor]:
    """All tensors of `stvc.model.network.EntropyNetwork`, and the frequency tables."""
    layers, positions = named_layers(net)
    tensors = {
        f"{n}.{k}": t for n, layer in layers.items() for k, t in integer_linear(layer).items()
    }
    for name, position in positions.items():
        units = (position.detach() * (1 << ACTIVATION_BITS) + 0.5).floor()
        tensors[name] = units.clamp(-POSITION_LIMIT, POSITION_LIMIT).to(torch.int8)
    exp = np.rint(255 * np.exp(-np.arange(EXP_STEPS) / 16)).astype(np.int32)
    tensors["exp"] = torch.from_numpy(exp)
    weight, ratio = torch.sigmoid(net.tail[0]).item(), 2.0 ** net.tail[1].item()
    tables = build_tables(weight, ratio)
    tensors["tables.frequencies"] = torch.from_numpy(tables.frequencies)
    tensors["tables.starts"] = torch.from_numpy(tables.starts)
    return {k: tensors[k].contiguous() for k in sorted(tensors)}


def write_model(
    tensors: Mapping[str, torch.Tensor],
    config: NetworkConfig | FastConfig,
    folder: Path,
    name: str,
    trained: Mapping[str, object],
) -> Path:
    """Write ``NAME-HASH.safetensors``; the hash covers tensors and configuration."""
    digest = content_hash(tensors, config)
    model_id = f"{name}-{digest[:8]}"
    notes = {
        "id": model_id,
        "config": json.dumps(vars(config)),
        "sha256": digest,
        "trained": json.dumps(dict(trained)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model_id}.safetensors"
    path.write_bytes(save(dict(tensors), notes))
    return path


def main() -> None:
    """Export a checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default="ct1")
    options = parser.parse_args()
    saved = torch.load(options.checkpoint, weights_only=True)
    config = NetworkConfig(**saved["config"])
    net = ConditionalTransformer(config)
    net.load_state_dict(saved["net"])
    trained = {
        "minutes": round(saved["minutes"], 1),
        "steps": saved["step"],
        "tokens": saved["tokens"],
        "excluded": saved["exclude"],
    }
    path = write_model(integer_tensors(net), config, options.out, options.name, trained)
    print(path, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
