"""The laboratory: claims made about rectified units, each measured.

One file here is one claim: what is said, who says so, what would refute it, the runs that it needs, the verdict on
their results and one figure. ``experiments/`` holds what several claims measure together, ``tasks/`` what networks are
trained on, and ``lab/`` the machinery: :mod:`.lab.claim` says what a claim is made of, and how to write one.

>>> from rectifier.claims import claims
>>> claims()["absolute-value"].statement
'With a slope of −1 the leaky rectifier is the absolute value, to the bit.'
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import MappingProxyType

from .lab.claim import GROUPS, Claim

__all__ = ["claims"]


@cache
def claims() -> MappingProxyType[str, Claim]:
    """Every claim by its name, in the order of the groups. No framework is imported."""
    files = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    found: list[Claim] = [importlib.import_module(f"{__name__}.{file}").CLAIM for file in files]
    ordered = sorted(found, key=lambda claim: (GROUPS.index(claim.group), claim.place, claim.name))
    return MappingProxyType({claim.name: claim for claim in ordered})
