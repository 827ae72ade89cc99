"""Rectified-linear units: exact, fast, and checked for the units that die.

>>> import numpy as np, rectifier
>>> rectifier.relu(np.array([-1.0, 2.0]))
array([0., 2.])

``import rectifier`` loads NumPy (and ml_dtypes where it is installed) and nothing more; the check-up, the reports and
``rectifier.torch`` and ``rectifier.jax`` load what they need when they are first used.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from . import _native
except ImportError as error:
    # A variable of the environment that cannot be used. The command ends here, before its own code: not with a
    # traceback, nor with Python's status 1, which is a verdict there.
    of_command = Path(sys.argv[0]).stem == "rectifier" or (sys.argv[0] == "-m" and "rectifier" in sys.orig_argv)
    if not (of_command and str(error).startswith("rectifier: the environment variable")):
        raise
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(2)
from ._family import Row, family
from ._functions import FUNCTIONS, PRelu, Rectifier
from ._gain import gain
from ._gate import Gate
from ._leaky import leaky_average
from .errors import RectifierError, RectifierTypeError, RectifierValueError

if TYPE_CHECKING:
    from .checkup import check, check_weights, heal, prune, recycling, trial, watch
    from .reporters import report

try:  # the loops for bfloat16 must be there before the first call: a ufunc that has run once keeps what it resolved
    import ml_dtypes as _ml_dtypes

    _native.register_bfloat16(_ml_dtypes.bfloat16)
except ImportError:
    pass

__version__ = "0.1.0"

relu: Rectifier = FUNCTIONS["relu"]
leaky_relu: Rectifier = FUNCTIONS["leaky_relu"]
prelu: PRelu = FUNCTIONS["prelu"]  # type: ignore[assignment]
abs: Rectifier = FUNCTIONS["abs"]
relu6: Rectifier = FUNCTIONS["relu6"]
squared_relu: Rectifier = FUNCTIONS["squared_relu"]
elu: Rectifier = FUNCTIONS["elu"]
celu: Rectifier = FUNCTIONS["celu"]
selu: Rectifier = FUNCTIONS["selu"]
softplus: Rectifier = FUNCTIONS["softplus"]
sigmoid: Rectifier = FUNCTIONS["sigmoid"]
tanh: Rectifier = FUNCTIONS["tanh"]
threshold: Rectifier = FUNCTIONS["threshold"]

__all__ = [
    "Gate",
    "Rectifier",
    "RectifierError",
    "RectifierTypeError",
    "RectifierValueError",
    "Row",
    "abs",
    "celu",
    "check",
    "check_weights",
    "elu",
    "family",
    "gain",
    "heal",
    "leaky_average",
    "leaky_relu",
    "prelu",
    "prune",
    "recycling",
    "relu",
    "relu6",
    "report",
    "selu",
    "sigmoid",
    "softplus",
    "squared_relu",
    "tanh",
    "threshold",
    "trial",
    "watch",
]

#: What the users of a framework import.
_ROOMS = ("torch", "jax", "keras")
#: Names loaded when first used → the room they come from.
_LAZY = {
    **dict.fromkeys(("check", "check_weights", "watch", "heal", "prune", "recycling", "trial"), "checkup"),
    "report": "reporters",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"rectifier.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'rectifier' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"rectifier.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_ROOMS})
