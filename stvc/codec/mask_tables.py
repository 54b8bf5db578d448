"""Trained integer weights of the mask coder: part of the bit stream, never to be changed in place.

Multinomial logistic regression on cloud masks and scene classes of Sentinel-2 series in Belgium,
Portugal, Tanzania and others; weights in 1/64 nat. A new training must become a new payload kind.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import zstandard

I16 = npt.NDArray[np.int16]

_ORBITS = (
    ((0, 1), (0, -1), (1, 0), (-1, 0)),
    ((1, 1), (1, -1), (-1, 1), (-1, -1)),
    ((0, 2), (0, -2), (2, 0), (-2, 0)),
    ((1, 2), (1, -2), (-1, 2), (-1, -2), (2, 1), (2, -1), (-2, 1), (-2, -1)),
    ((2, 2), (2, -2), (-2, 2), (-2, -2)),
    (
        *((0, 3), (0, -3), (3, 0), (-3, 0), (1, 3), (1, -3)),
        *((-1, 3), (-1, -3), (3, 1), (3, -1), (-3, 1), (-3, -1)),
    ),
)
OFFSETS = np.array([offset for orbit in _ORBITS for offset in orbit], dtype=np.int64)
"""(36, 2) row and column steps to a pixel's neighbors, in units of the lattice spacing."""


@dataclass(frozen=True)
class Tables:
    """Weights for one alphabet; ``kind`` is a step's place in the lattice, 0 to 3."""

    classes: int
    """K, number of classes; K itself stands for an unknown neighbor."""
    affinity: I16
    """(36, K + 1, K): neighbor's class votes for a class."""
    affinity_before: I16
    """(K + 1, K): the previous raster's class votes for a class."""
    bias: I16
    """(4, K): kind, class."""
    support: I16
    """(4, 5, 5, 5): kind, number of the 4 nearest, 4 diagonal, 4 next neighbors of the class."""
    rarity: I16
    """(4, 9): kind, rarity of the class so far in octaves."""
    scale: I16
    """(4, 6): kind, roughness; factor on all votes in 1/256."""
    repeat: I16
    """(4, 10): kind, trust; vote for the previous raster's class."""
    gate: I16
    """(4, 10): kind, trust; factor on ``affinity_before`` in 1/64."""


@lru_cache(maxsize=4)
def load_tables(scene: bool, previous: bool) -> Tables:
    """Unpack the weights for an alphabet.

    Parameters
    ----------
    scene : bool
        Scene classes 0 to 11, or else two values.
    previous : bool
        Whether a previous raster votes.

    Returns
    -------
    Tables
    """
    block = zstandard.ZstdDecompressor().decompress(base64.b85decode(_WEIGHTS))
    position = 0
    for alphabet, past in ((True, False), (True, True), (False, False), (False, True)):
        classes = 12 if alphabet else 2
        shapes = _shapes(classes)
        count = sum(int(np.prod(shape)) for shape in shapes)
        planes = np.frombuffer(block, np.uint8, 2 * count, position).reshape(2, count)
        position += 2 * count
        if (alphabet, past) == (scene, previous):
            break
    numbers = np.ascontiguousarray(planes.T).view("<i2").ravel().astype(np.int16)
    parts = np.split(numbers, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
    first, *others = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    affinity = np.repeat(first, [len(orbit) for orbit in _ORBITS], axis=0)
    return Tables(classes, affinity, *others)


def _shapes(classes: int) -> list[tuple[int, ...]]:
    """Shapes of the weight arrays in the order in which they are stored."""
    return [
        (len(_ORBITS), classes + 1, classes),
        (classes + 1, classes),
        (4, classes),
        (4, 5, 5, 5),
        (4, 9),
        (4, 6),
        (4, 10),
        (4, 10),
    ]


_WEIGHTS_SHA256 = "5337009a0f96f453ae17e6e40f9a4f8aae5414c687208bc77f2bb5c311297521"
_WEIGHTS = (
    "D77#BV3;LUP5|nQ2p(2o)KzB;LRNPB-~Rjc|HrH3Rq5NqfdbM4%EG5tnzVzC(63>vkGtTFKqtN$Jc2i{k9i896ZR5_EA"
    "kk9+<2yVlWexnG>T@v6<NNO=eh6u_Pe`x3cLZm0lfiane$&{-fr>xU;RUkdi7N>6z?a|H(tRlv>y6kyG!_0U9X(~sxYh"
    "7urjsT5B=9Ic<UePC&p;}swTSO3wMc{x@VTCe(<l;E?=sa+}^z+%*VKe%5?em?W!-6!R(2<Ea6z6X5Ke{tM6a^NgF1u&"
    "!p4@|3hDD%o+<4UGTAyI>f<w$XoJ#!@?abqghtn=l%Ecuizi{QCZ(O=7`03AlDfQb8L)x`kjcY!ze+aiVCo=V@gZ8#SU"
    "F=`uI9tFC-*}F9NGQQPMQNCHV~&@FDGne*9y8Uylt9d=w#e$*<c1<RX%5oPcA;hfY*u3zA3$4nTN!k9tO00ysJ;8L2(#"
    "{|3@F+`|6#2ndlR=6*T+&f`ZwNC5|nHco)2;#-ImCpyNE5@;{Fkj&7zz(GS`G&p<R6(!#Vf4di;^~s|#i9(-JfSuB7AO"
    "HFP0rg1vUWE@)p8P``8K7ol9Y8P=dX^%!#{i7okwTCpKgOyInGcjJPHy0C<^LvnvGY0mjYc(go895*Fy%8g4<DK^4%Zb"
    "xmL9~bH2EQ<Vc_9{&a;_>B+HEc!9**Bzh~M>xeX<X>S+kKD8dsRmIBHXUBeL)W?x-GG_bV9LqW0%zP{(=<U8Nb_a3d$_"
    "^9)z0xJ^l2>(6?dZ553A>zps7NBZmAV@F@deBJy{kYg4Ed&XAn^zxNUNF%iIWcpm|9i;+`$cCzJH-j!W^aTtj=tkPhS1"
    ">(-y9*j>o}DrK7@3PC|bZdY$65mVm6Q*EDxUV^h3H2A8hd}oc#CR|Nh?p|NsC0|KI!n|L=eQ`}_O<|Nr0n`zqXk1QSDU"
    "#6a@oit`IPmJAI+DWV6v*?I9%q|u}{wVI0!CF6>QOLMm*c&Qj0otvAQ5JSb+a&C42=pkUXIu6NL5P^#(u$uxbu;{+|;5"
    "^!v@X58rh)%P^^J0dH%f$i@5XH#!XmEsl>HMHLVBki`ab_)6h)+Z;K9!|oJaQCbE~lz|$rIT64fZ_Q)krH@)l=mQ$6jn"
    "XIGf$+$CJa@EK{lL-~F4&bN{Yp^N*r3Y#LuMOX!<mIVQJL3T=;fUvUYaTbJbVzW@8Hta<PM(<=DQa-!NjaqrZAlWv~y%"
    "bO@t#d5ibe~`$M`$1HTEKhu~%JFVKD*g3d!*N!j?R(=*@>;_IH99;oBi9ZL1f<YtEFcgnSv4+H4Y){ya<Z4JX&n-GPb%"
    "x?C3*)i*oh)v6zN+%2y3E_tg!_(rv8>0e!1A-;7jc4>`yN${E`I-^ZzGF8}Ivb-jd~*C^Ylm9U3kI<4cK%NBo9=a0OsO"
    "hLyO_+u{tWWN9E8Hk?<n0ukX6ZK4Tkcs$9Px=enrb!|UzHM+@8H-VTU8O|3<GDG_~{>k%<zs6*lS{e6^dp+J2TS|R*UF"
    "vOnx24Hza^>n?8>`~{Gtc<_n$4?LuhvshHUB5`b<)poW_nA%DYVT$x}NW@tkk=odZmQNZNgd2&%;-V((IY!9sf`mr8Ch"
    "y)srbx`^plH4}5mI>2m)vJ-tW$LdjzC?q4H(7b`yA-K0s<z%FpjHSPT-D!TSpgSTVWyP%^Ykp|AiT@&v+7kO|@+_J*>L"
    "fOyCOGY@JxjObn?vyml@C)-4{EribQl8Wz%5x+vZ;K_ea&GJOMoP9m1*{iE%ku~N=`Hb=41fa`K52;9<lpu9X&HHQxX?"
    "t83!kVhi>pCB1lj#)^b2z7u)QlsW;go9Y}kDv6_FwG0KAYR9YI6`-~0df{!VvpH#0UhH{1+&yWwzYEwxE+DFC!IO>sME"
    "?FTgZimK#bl_-wDdpw?x_Z%1Cy<54{i5!9#zx$Ev=uv|ZHjp&=V1lR#>taa~LV`5Gf|M|+HlU#mC#$8(V=lf}GO_pWe="
    "@Y4mrIkdlA;)@x~*cdmL_0%1C;=boYIP?o*0b4n~f%`;Lv6$r52YT9L&io$K_=Q0%izUStFv$%-xCMfD|0mHm?|288u^"
    "`DZ^N7ZZi0SdTDe(m{Rjh;n~Q&_x}F=4;g-#LBt9bJCc-4365qAnW8tVLM3>%@Db8vU^Z3R#;dE9lexOxKbuPn7neRfg"
    "s4SS)xc;qSds2Ml~6U1Ku(sJ`-20x-sb@r^_o4=!LhJuau^H-JS|mhTuUZH0|GcOJSxGrn$~864-=l*Op%fGqR_lI8Jj"
    "2JQ<pys5D2q6)>!e?%(w*<9nIeRdw=i$|5F$*3J3rvV|$6EEK;2nHyaH`YCxKk!t|s&X-yhSWpCjE9Jg()WTEm2K65d$"
    "PWK&z!=81l^}!ir7(t^5jv$!mHtUoTg^{2nrXng#1_llkhry+33``7%(~$*3lf%)}SW&fHE{ChpC|XHcO^Rc~f|g>BfP"
    "8X_S}`w1cq-wX1u1>2<>;YlwM3Z-fr6;fbRr@$A|fJ^6r>>OF&?6sp-mpLfC<DvFhmR_1PP3Q5CNeAi4}<v5gAn-BJ3b"
    "CD0?cwo9@s;8wA1EQ~=CkO=BYzLMfScR?@xU1is>b@^j!oo0Jd0$beA2lOB}%$Ydc3kR>HcQ;+3_5`%7($wk*^Jq<6gD"
    "=L$31$*=K>Am;U)W;TEXph0PmusDPjMGeZpZ7@jR&^x-!4tWB2Aj`dJ`=303oKwDi*v_3FldUc2>~RVKdf;`nxf^J?CP"
    "S#Y;245DoZ1*gGYnxXKnco^$uDbh5M#qfyvjSc)({Yadx<4y5rz_E{u=$eyt!+r9{owx0lJt(DCBKTy<F-!sammas$~f"
    "F&>c@t$-{@PKyM8VtO>%M;VqPh?EqhLb+HDkYM&Hbo>Ltvnw~;gC%An1(Z#u!QL~%RXjJd{!v+ikNDOI6bj!tW*R`KXU"
    "dBr<bkW9TJizCNEdzUW$LZR#K&bEeiib;Kf)qw_XBcTh^~HL>H>C9Stj^`>6kvYm8(jg4dUMmP9-^N(0P;OCLVy^)ZHm"
    "No!7{NxhQ$#x?i~Jg9m<nPO6;(zX-{L&d1YdosRX|yWvVQ-Y4Mr@T}O^7Lt1A-M0SWt~<7_%WqDbjGCrN?zdmsD6MP!h"
    "k*<rw9#q6NKa!=e2oGzqB)3LI&@)E&L`8XR-x_^gWF;4P6B8wpx;ICG`<nxae-IL4+T{LEfudt;eSka!zs?kSPe}DMyM"
    "+6l&bw1{>QH#zj`EQ"
)
