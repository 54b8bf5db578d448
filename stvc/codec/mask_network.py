"""A small integer network that corrects the votes of the mask coder: payloads of kind 3.

It looks at one class at a time, with the same weights for all of them: how many of a pixel's known
neighbors have the class, how many have it in two earlier rasters, how far the class's votes lie
above or below those of its rivals. That way a class seen rarely in training profits from what was
learned of the others, and a thousand numbers do. What is here is the definition, in numpy;
``stvc/native/mask_network.c`` does the same in C.

Weights are trained once (``train/mask_network.py``) and frozen: part of the bit stream, never to be
changed in place. Places of Sentinel-2 series in Belgium, Greece, Tanzania and others were seen.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from stvc.types import U8

I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]

HIDDEN = 16
COUNTS = 16
"""Numbers that tell of a pixel and a class, besides the margin of its votes."""
COMMON = 8
"""Numbers that tell of a pixel whatever the class."""
OCTAVES = 5
"""Lattice spacings that are told apart: 1, 2, 4, 8, larger."""
PAST, SECOND = 13, 9
"""Pixels of the two earlier rasters that are looked at: the same, its nearest, diagonal (and, of
the first, next) neighbors in the lattice."""
RINGS = (0, 4, 8, 12, 20, 24, 36)
"""Where the lattice neighbors of one distance begin and end."""
_PAST_RINGS = (0, 1, 5, 9, 13)
_LARGEST_MARGIN = 512


class Seen(NamedTuple):
    """What is known around n pixels; classes in the tables' terms, C for what is unknown."""

    around: U8
    """(n, 36) of the lattice neighbors."""
    past: U8
    """(n, 13) of the raster before: here, then the first 12 lattice neighbors."""
    second: U8
    """(n, 9) of the second raster: here, then the first 8 lattice neighbors."""


class Place(NamedTuple):
    """What the pixels of one pass have in common."""

    kind: int
    """0 to 3, see `stvc.codec.mask_model`."""
    octave: int
    """Logarithm of the lattice spacing, at most 4."""
    rough: int
    """Roughness, 0 to 5."""
    rarity: I64
    """(K,) how rare each class has been so far, in octaves, 0 to 8."""


@dataclass(frozen=True)
class Network:
    """Weights for one alphabet of C classes."""

    counts: I16
    """(16, H) in 2**-8."""
    margin: I16
    """(H,) in 2**-13."""
    common: I16
    """(8, H) in 2**-8."""
    place: I16
    """(4, 5, H): kind and octave, in 2**-8."""
    label: I16
    """(C, H): class, in 2**-8."""
    out: I16
    """(4, H): kind, in 2**-12."""


@lru_cache(maxsize=2)
def load_network(scene: bool) -> Network:
    """Unpack the weights for scene classes 0 to 11, or for two values."""
    block = zstandard.ZstdDecompressor().decompress(base64.b85decode(_WEIGHTS))
    planes = np.frombuffer(block, np.uint8).reshape(2, -1)
    numbers = np.ascontiguousarray(planes.T).view("<i2").ravel().astype(np.int16)
    sizes = [sum(int(np.prod(shape)) for shape in shapes(classes)) for classes in (12, 2)]
    mine = numbers[: sizes[0]] if scene else numbers[sizes[0] : sum(sizes)]
    wanted = shapes(12 if scene else 2)
    parts = np.split(mine, np.cumsum([int(np.prod(shape)) for shape in wanted])[:-1])
    return Network(*(part.reshape(shape) for part, shape in zip(parts, wanted, strict=True)))


def shapes(classes: int) -> list[tuple[int, ...]]:
    """Shapes of the weight arrays in the order in which they are stored."""
    return [
        (COUNTS, HIDDEN),
        (HIDDEN,),
        (COMMON, HIDDEN),
        (4, OCTAVES, HIDDEN),
        (classes, HIDDEN),
        (4, HIDDEN),
    ]


def refined(network: Network, votes: I64, labels: I64, seen: Seen, place: Place) -> I64:
    """Correct votes.

    Parameters
    ----------
    network : Network
    votes : ndarray, (n, K) int64
        In 1/64 nat.
    labels : ndarray, (K,) int64
        The classes that occur, in the tables' terms.
    seen : Seen
    place : Place

    Returns
    -------
    ndarray, (n, K) int64
    """
    # Products of integers that are exact in floating point: numpy has no fast ones of integers.
    weights = network.counts.T.astype(np.float32)
    told = counts(seen, labels).astype(np.float32)
    hidden = (weights[:, :-1] @ told.reshape(len(told), -1)).astype(np.int32)
    hidden = hidden.reshape(HIDDEN, *told.shape[1:])
    margin = 32 * margins(votes).T.astype(np.int32)
    hidden += margin * network.margin[:, None, None].astype(np.int32) >> 16
    own = network.label[labels] + place.rarity[:, None] * network.counts[-1].astype(np.int32)
    hidden += own.T[..., None].astype(np.int32)
    common = commons(seen, len(network.label)) @ network.common[:-1].astype(np.int64)
    common += place.rough * network.common[-1].astype(np.int64)
    common += network.place[place.kind, place.octave]
    hidden += common.T[:, None].astype(np.int32)
    np.maximum(hidden, 0, out=hidden)
    flat = hidden.reshape(HIDDEN, -1).astype(np.float64)
    gain = (network.out[place.kind].astype(np.float64) @ flat).astype(np.int64)
    corrected: I64 = votes + np.ascontiguousarray(gain.reshape(told.shape[1:]).T >> 14)
    return corrected


def counts(seen: Seen, labels: I64) -> U8:
    """Count what a pixel sees of each class: (15, K, n)."""
    names = labels.astype(np.uint8)[:, None, None]
    # Pixels innermost: adding whole rows is far faster than adding up short ones.
    around, past, second = ((np.ascontiguousarray(part.T) == names).view(np.uint8) for part in seen)
    rings = [
        *(around[:, a:b] for a, b in pairwise(RINGS)),
        *(around[:, :8] & part[:, 1:9] for part in (past, second)),
        *(past[:, a:b] for a, b in pairwise(_PAST_RINGS)),
        *(second[:, a:b] for a, b in pairwise(_PAST_RINGS[:-1])),
    ]
    found = np.empty((len(rings), len(labels), len(seen.around)), np.uint8)
    for into, ring in zip(found, rings, strict=True):
        np.add.reduce(ring, axis=1, dtype=np.uint8, out=into)
    return found


def commons(seen: Seen, missing: int) -> I64:
    """Count what of a pixel's surroundings is known, and how well earlier rasters fit: (n, 7)."""
    around, past, second = (np.ascontiguousarray(part.T) for part in seen)
    known = around[:12] != missing
    found = [
        *(known[a:b] for a, b in ((0, 4), (4, 8), (8, 12))),
        *(raster[:1] != missing for raster in (past, second)),
        *((raster[1:9] == around[:8]) & known[:8] for raster in (past, second)),
    ]
    return np.stack([part.sum(axis=0) for part in found], axis=1)


def margins(votes: I64) -> I64:
    """By how much a class's votes exceed those of its best rival: (n, K), at most 8 nat."""
    second, first = np.partition(votes, (-2, -1), axis=1)[:, -2:].T[..., None]
    rival = np.where(votes == first, second, first)
    lead: I64 = np.clip(votes - rival, -_LARGEST_MARGIN, _LARGEST_MARGIN)
    return lead


_WEIGHTS_SHA256 = "2019b1f895ee20e9c7e5e91d51827ed548d5b04f0d2c6c8477462e55de45f0c6"
_WEIGHTS = (
    "D77#BU;qs@L;y;803AIbrq%&cB#|Oy`${bfZlq*l7_dF#Rf{(yHe7VKI<lEf;n`6=7UrvI<u&ezC}JT&m=&blspW1`N-"
    "0wc&H>H=!2v_4rs9-GzS<<4**%^=lWGs+J_w#kf2l+t_=I+?`Pq`g<Gao1q3+q9WH|txVBFecrvxFy(aol3)pUmDAoeR"
    "AiY?BYMxQh%EJ!$VrDrcG;j$MZ&~0^ByIh3%N-yStzK1-CIi-NcG77T9w_$L$k1OuPgRh!siNg5q@rvv%KzliUqdAj-H"
    "G2#-$fPQeh6x&sI&o7Vd(%n%NqUuDqbu4fSe4)EW1bcCH=}mcTovk|L`Y!2wyvKtvqB72cuvr`#4!(az_XH>I7y7)xb)"
    "xxH)n{J@gaUfGf{3s7?OlJhgD!~U(Bs$jrt(FIdK7~@?sK`DOM(8n6}YmSa*9-`Oj5JcZw3^$hK`7;>(Q;V{NG}>p(+#"
    "N7v(@9`qgz)mva^zgd(Q9HZ7pU&^UsIJiu#3JV6qR`@{HYGxQj%53aKlNL<5k%pp*2-mk;8X-Awa*bVZfdK652H!6nAY"
    "Ib_CFo)Y3QUU$(Rqu#IqH*g8h8B<6zt`zhqK8f0XqQK7H5KD^&@%19efD4dm1@KC0xaDuN``#$-=4VX!X*US~TOcy~x$"
    "}{YWg6Nwks;=8EX$V7la-ov|X)q>F3K5gcm)h?G(yiEzL<LNHA{NV>RkYRuxDf=C_(GuWm_zhz&RCnwg>(bA|oS!14bN"
    "S`oBz$5b_E7b7Cho(c@b)^FB$^mT(8BjdDc=HG2E17UDKPy7Ku3;|Q{%n_Vms_avlg9}gXg_9;JU&&A!c<48PYD$oT$`"
    "CabNSYK7u6yR$uPaxe&DbY6K9!;NUyaZaOg2URGx6Kd9AO1YRdBwZ&wtu8jv%{$w0f;9EH_VL@E!l504A3$1ZdJ*du0E"
    "M&`f^PT`n6kj9&20t=8(Yg-YHg$nF+5#}u!d<rszjY)XoK=t}p8(SU*QovH5T59bD<B+dGwKwTr&)^BFyDXTri_e01<K"
    "LfV?!t#bE!wlp-e%mdh5k(r5Avqxz)Q*-u)=@<d|6;2iRGX@ABA7?-S@)wFJU@NK%{aZC(rXq>bmz(Icw=#Bh2miQmc*"
    "h<wA#9Ohs&f?;qa>5$&Z`=U}M{SO=qu5d0HhR}mEI$YeAJh)d|n;|s|;JS0^zk?{m-Ste!5_BeOHV;^NQle}E|@9MW}M"
    "OLJDtI`?+tV0UI<GF?KL0Hcw)_QVpvfTTvQ;KhWk&-m=I|CU<c&D0^gVT=IwG02|lY^+w_v+Gvkh}Z=Ai4S2fA2k?anI"
    "%57b*Dq3VXlDx;K9RZ5T%$WVk)-=nzn!vW+(`JzG-B{WneCK>`nEWs>)KpzS_z*I)~QU3$H_lX*vl)~^I|5@*v$!*|<N"
    "{OIUN5%UPxBQ%f~hfaF&5GDihq!LkO1&yrQz`owD;1D%TR4>(w8w*%uIa#-x)+w`e&8cc}X2-t=#tQ-OPzmZ)yB{xHP?"
    "TNTty4Z)tlRO{H|RCI=E+u>^lY5iOS52@!Rd`csZ9Ts1O<B_&XKPV7ft%=EE{sfsPf|ap(rKkhk%YzM@_)RYJ=C!VHwY"
    "Zqs*q=Sf@s_s!u2rN`*HWneNQn3pn>Rj4}a}icXMt1bUwAYOtGX0+(N;Qs1^J<&oDXsuU|&MB|lmBwCfRpZ>@ur&#R(B"
    "vZ;E^7b{<?Urtn(yAq!8C(e5Z(Ex%r&l{IpVFa-x~SF%>l(<KaEc7v^DZc1I=u={`3m90))a$5bFe}MvHGsWo!9;Tckl"
    "iDeOg|MdjORS3x8*Ts8Vl0F1mF<W;iaC^bk(_EWJqv78+w<6%ia8%&|jx3_NTApg<tHg+U5Mo6hlH%)Pp-@83LezK^)~"
    "B5^yO|6b!%`le-FspnhU=R2%hxi_rc1LQd3to%RGp8mNB(Z>G_U%Ov8$Lm|yWuL|K|Mm5E{^Id$&pY<}{d!#Aw4KLuJ^"
    "MVyxB0K@xsK(TTio>=$L6rtJKM%t=IT1`yE5EOe!FruzHe>*zpn4P_xnEea%Q4Xk&cY&W_Oz+gz%NN6l5!pN)5d!a$Kh"
    "gEiL}Oyhz)DecQqtXrs*PtT>%b1;yCtF1W#J0lwI{36g3<;q6Hv(iIzQ&9X1XCc+9L(vD_s-r$@oVKL&@4{U|RhQ;0ct"
    "1o*2@a~JIM7a!jwXxDs3vYSdT5LM85Y$~+xs`Eh{*`*O&!Vj_{M{<q*X8k1Aw2iF!31o0>5uyK=Q|qraog`6>Ggg&$FS"
    "1IQI!wg1()8UU-U2z)c~o*lw>@59+zyZr}3}c6e$~(gi0I)gXv=UkCrBxp>wPa)l9hQ6w6--*1XkA<KFgu-wH(5%MS({"
    "v#jD}1FNNA^Be9s3nef6{HRoKWBAiwSPQwsz8HYYsBx3>E2+nDFoq~)WgZ}eV1Y<Vlg6$O-X`}~%^(L|B)!Gb{**@7%t"
    "#Uvf?~Sn3>`KG6*n}P5$TBUa-jrauU_TDM?~T^UMO>1M$DoNVe9>6Cw#uZBngQYH|t6Atd~QF0qFeR^%M=9p%toS#a2_"
    "_XuF|Zlpx2V0+<{8YXlvxQ6PY)sRs4{h~o<`$LZN=k>`_xNQ6nJ?iA9rPfLx;WA!bN363#{+(5#3I%odzdo~%l@N7ZnJ"
    "2^<j*}qdF^_Zru!w=ZkZ0Lq22)y8llNw~2E)9-*P2;enl)OZ&Y1wbKCGgzxu&|W$v|5yM(6_fYW&5=JsX@H5i6fRYOM+"
    "GSh9dUSqTZ*o34|)$L3gKFc)xV`@02Z|^^jjk0VJ;nbWOK05E}=Zupk1p_#9O{4OEr8YPfx?"
)
