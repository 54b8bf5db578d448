"""Access to the scripts in ``train/``, and small random networks, for the network tests."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "train"))

import cubes
import export
import fast_qat
import qat
import scale_weights
import train_pixels

import train
from stvc.model.architecture import NetworkConfig

SMALL = NetworkConfig(width=32, heads=2, hidden=48, trunk=1)


def random_net(
    seed: int, gain: float = 1.0, config: NetworkConfig = SMALL
) -> qat.ConditionalTransformer:
    """Random network; a large gain drives activations to their limits."""
    torch.manual_seed(seed)
    net = qat.ConditionalTransformer(config)
    net.set_dtype(torch.float32)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith("weight"):
                value *= gain
            elif name.endswith("bias"):
                value += torch.randn(value.shape) * 0.3 * gain
    return net.eval()


__all__ = [
    "SMALL",
    "cubes",
    "export",
    "fast_qat",
    "qat",
    "random_net",
    "scale_weights",
    "train",
    "train_pixels",
]
