"""The autoencoder, its gains and its two priors, in torch floating point."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

BANDS = 4
WIDTH = 96
LATENTS = 256
"""As many latent channels as an 8 x 8 block of four bands has samples: nothing is lost by count."""
HYPER_LATENTS = 64
STRIDE = 8
"""Pixels per latent along an axis; the hyperprior takes 4 times as many."""
SCALE_DN = 1000.0
"""DN that one unit of the network's input stands for."""
NOMINAL = (34.0, 38.0, 42.0, 46.0, 50.0, 54.0, 58.0)
"""Gain vectors are trained at these nominal PSNRs, dB; in between they are interpolated."""
_MIDDLE = 46.0
_MIN_SIGMA = 0.11
_MIN_LIKELIHOOD = 1e-9


def step_of(nominal: float) -> float:
    """Uniform step, DN, whose error D = step^2 / 12 has that PSNR (peak 10000)."""
    return math.sqrt(12 * 1e8 / 10 ** (nominal / 10))


def slope_of(nominal: Tensor) -> Tensor:
    """Bits per sample that a DN^2 is worth where the step is fine: 1 / (2 ln 2 D)."""
    return 10 ** (nominal / 10) / (2 * math.log(2) * 1e8)


class Gdn(nn.Module):
    """Generalized divisive normalization (Balle et al. 2016), or its approximate inverse."""

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.root_beta = nn.Parameter(torch.ones(channels))
        self.root_gamma = nn.Parameter(math.sqrt(1e-3) * torch.eye(channels) + 1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        gamma = self.root_gamma.square()[:, :, None, None]
        norm = functional.conv2d(x * x, gamma, self.root_beta.square() + 1e-6).clamp_min(1e-6)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


def _haar(weight: Tensor, channels: int) -> None:
    """Make the first 4 x ``channels`` filters the 2 x 2 Walsh-Hadamard transform, others small.

    Only a start: three such stages are an orthonormal 8 x 8 transform, from where minutes of
    training lead further than days of CPU time do from random filters.
    """
    signs = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    with torch.no_grad():
        weight.mul_(0.1)
        weight[: 4 * channels, :, :, :] *= 0.1
        weight[:, :channels] *= 0.1
        for k, pattern in enumerate(signs):
            for c in range(channels):
                weight[k * channels + c] = 0
                weight[k * channels + c, c, 2:4, 2:4] = pattern.reshape(2, 2)


def _transforms() -> tuple[nn.Sequential, nn.Sequential]:
    widths = (BANDS, WIDTH, WIDTH, LATENTS)
    analysis: list[nn.Module] = []
    synthesis: list[nn.Module] = []
    for stage, (fine, coarse) in enumerate(pairwise(widths)):
        down = nn.Conv2d(fine, coarse, 5, 2, 2)
        up = nn.ConvTranspose2d(coarse, fine, 5, 2, 2, 1)
        for layer in (down, up):
            _haar(layer.weight, BANDS * 4**stage)
            nn.init.zeros_(layer.bias)
        analysis += [down, Gdn(coarse)] if stage < 2 else [down]
        synthesis = [up] + ([Gdn(fine, inverse=True)] if stage else []) + synthesis
    return nn.Sequential(*analysis), nn.Sequential(*synthesis)


class Density(nn.Module):
    """Univariate densities, one per channel, by their learned cumulative (Balle 2018, 6.1)."""

    def __init__(self, channels: int, widths: tuple[int, ...] = (3, 3, 3)) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        sizes = (1, *widths, 1)
        gain = 4 ** (1 / (len(sizes) - 1))
        self.matrices, self.biases, self.factors = (nn.ParameterList() for _ in range(3))
        for a, b in pairwise(sizes):
            start = math.log(math.expm1(gain / b))
            self.matrices.append(nn.Parameter(torch.full((channels, b, a), start)))
            self.biases.append(nn.Parameter(torch.empty(channels, b, 1).uniform_(-0.5, 0.5)))
            self.factors.append(nn.Parameter(torch.zeros(channels, b, 1)))

    def fit_scale(self, values: Tensor) -> None:
        """Start from the spread of some values (B, C, H, W)."""
        with torch.no_grad():
            self.log_scale.copy_(values.std((0, 2, 3)).clamp_min(1e-3).log())

    def logits(self, values: Tensor) -> Tensor:
        """Logits of the cumulative at (C, n)."""
        out = (values * torch.exp(-self.log_scale)[:, None])[:, None]
        for k, (matrix, bias, factor) in enumerate(
            zip(self.matrices, self.biases, self.factors, strict=True)
        ):
            out = functional.softplus(matrix) @ out + bias
            if k < len(self.matrices) - 1:
                out = out + torch.tanh(factor) * torch.tanh(out)
        return out[:, 0]

    def bits(self, values: Tensor, width: Tensor) -> Tensor:
        """Bits (B, C, H, W) of values in bins ``width`` (B, C, 1, 1) wide around them."""
        b, c, h, w = values.shape

        def at(shift: float) -> Tensor:
            return self.logits((values + shift * width).transpose(0, 1).reshape(c, -1))

        low, high = at(-0.5), at(0.5)
        sign = -torch.sign(low + high).detach()
        mass = (torch.sigmoid(sign * high) - torch.sigmoid(sign * low)).abs()
        bits = -torch.log2(mass.clamp_min(_MIN_LIKELIHOOD))
        return bits.reshape(c, b, h, w).transpose(0, 1)


class Gains(nn.Module):
    """Per nominal PSNR and channel, by how much latents are stretched before rounding."""

    def __init__(self, channels: int, start: list[float]) -> None:
        super().__init__()
        first = torch.tensor(start).log()[:, None].expand(-1, channels)
        self.log_gain = nn.Parameter(first.clone())
        self.log_inverse = nn.Parameter(-first)

    def forward(self, nominal: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and inverse gain (B, C, 1, 1) at nominal PSNRs (B,), dB."""
        spacing = NOMINAL[1] - NOMINAL[0]
        place = ((nominal - NOMINAL[0]) / spacing).clamp(0, len(NOMINAL) - 1)
        below = place.floor().long().clamp_max(len(NOMINAL) - 2)
        share = (place - below)[:, None]
        both = []
        for table in (self.log_gain, self.log_inverse):
            mixed = (1 - share) * table[below] + share * table[below + 1]
            both.append(mixed.exp()[:, :, None, None])
        return both[0], both[1]


def _round(values: Tensor) -> Tensor:
    """Round, with the gradient of the identity."""
    return values + (torch.round(values) - values).detach()


def _noisy(values: Tensor) -> Tensor:
    return values + torch.empty_like(values).uniform_(-0.5, 0.5)


def gaussian_bits(values: Tensor, sigma: Tensor) -> Tensor:
    """Bits of values in unit bins under centered normal distributions."""
    away = values.abs()

    def cumulative(x: Tensor) -> Tensor:
        return 0.5 * torch.erfc(x / (-math.sqrt(2) * sigma))

    mass = cumulative(0.5 - away) - cumulative(-0.5 - away)
    return -torch.log2(mass.clamp_min(_MIN_LIKELIHOOD))


class Rival(nn.Module):
    """A GDN autoencoder with a factorized prior or a (mean and scale) hyperprior."""

    def __init__(self, hyperprior: bool) -> None:
        super().__init__()
        self.hyperprior = hyperprior
        self.analysis, self.synthesis = _transforms()
        self.gains = Gains(LATENTS, [SCALE_DN / step_of(n) for n in NOMINAL])
        self.middle = SCALE_DN / step_of(_MIDDLE)
        self.density = Density(HYPER_LATENTS if hyperprior else LATENTS)
        if hyperprior:
            self.hyper_gains = Gains(HYPER_LATENTS, [4.0] * len(NOMINAL))
            self.hyper_analysis = nn.Sequential(
                nn.Conv2d(LATENTS, WIDTH, 3, 1, 1),
                nn.LeakyReLU(inplace=True),
                nn.Conv2d(WIDTH, WIDTH, 5, 2, 2),
                nn.LeakyReLU(inplace=True),
                nn.Conv2d(WIDTH, HYPER_LATENTS, 5, 2, 2),
            )
            self.hyper_synthesis = nn.Sequential(
                nn.ConvTranspose2d(HYPER_LATENTS, WIDTH, 5, 2, 2, 1),
                nn.LeakyReLU(inplace=True),
                nn.ConvTranspose2d(WIDTH, WIDTH * 3 // 2, 5, 2, 2, 1),
                nn.LeakyReLU(inplace=True),
                nn.Conv2d(WIDTH * 3 // 2, 2 * LATENTS, 3, 1, 1),
            )

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Start the priors from the spread of the latents of some frames."""
        latents = self.analysis(x)
        if not self.hyperprior:
            self.density.fit_scale(latents)
            return
        self.density.fit_scale(self.hyper_analysis(latents * self.middle))
        spread = (latents.std((0, 2, 3)) * self.middle).clamp_min(0.2)
        self.hyper_synthesis[-1].bias[LATENTS:] = torch.log(torch.expm1(spread))

    @property
    def multiple(self) -> int:
        """Sides of the input are multiples of it."""
        return STRIDE * 4 if self.hyperprior else STRIDE

    def normal_of(self, hyper: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of stretched latents from decoded hyper latents."""
        mean, raw = self.hyper_synthesis(hyper).float().chunk(2, 1)
        stretch = gain / self.middle
        return mean * stretch, (functional.softplus(raw) * stretch).clamp_min(_MIN_SIGMA)

    def forward(self, x: Tensor, nominal: Tensor) -> tuple[Tensor, Tensor]:
        """Train: reconstruction (B, C, H, W) and bits (B,) of normalized frames."""
        latents = self.analysis(x).float()
        gain, inverse = self.gains(nominal)
        stretched = latents * gain
        if not self.hyperprior:
            bits = self.density.bits(_noisy(stretched) / gain, 1 / gain).sum((1, 2, 3))
            return self.synthesis(_round(stretched) * inverse), bits
        hyper = self.hyper_analysis(latents * self.middle).float()
        hyper_gain, hyper_inverse = self.hyper_gains(nominal)
        side = self.density.bits(_noisy(hyper * hyper_gain) / hyper_gain, 1 / hyper_gain)
        mean, sigma = self.normal_of(_round(hyper * hyper_gain) * hyper_inverse, gain)
        bits = gaussian_bits(_noisy(stretched - mean), sigma).sum((1, 2, 3))
        decoded = (_round(stretched - mean) + mean) * inverse
        return self.synthesis(decoded), bits + side.sum((1, 2, 3))


def normalized(frames: np.ndarray[Any, Any], mean: np.ndarray[Any, Any]) -> Tensor:
    """Turn DN (T, C, H, W) into the network's input, less a mean (C,) DN."""
    centered = frames.astype(np.float32) - mean.astype(np.float32)[:, None, None]
    return torch.from_numpy(centered / np.float32(SCALE_DN))
