"""Text: the next character of English prose that ships with Python, from those before it.

The prose is that of ``pydoc_data.topics``, the texts behind ``help("if")``: part of every Python's standard library,
under the Python Software Foundation License, version 2. It changes a little from one Python to the next, so a result
names the text that it was measured on.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import OrderedDict
from functools import cache
from typing import Any

import torch
from torch import nn

from .layers import layer
from .setup import Setup, whole
from .training import Batch, Problem, shuffled, train

__all__ = ["characters", "digest", "parts", "prose"]

ALPHABET = " abcdefghijklmnopqrstuvwxyz.,'-"
#: Bits of a guess that knows the alphabet alone.
UNIFORM = math.log2(len(ALPHABET))
_BATCH = 128
#: Positions of the validation and of the test part that are looked at: enough for a hundredth of a bit.
_LOOKED = 4000


@cache
def prose() -> str:
    """Every paragraph once, in lower case; what the alphabet lacks becomes a space. Code and grammar are left out."""
    from pydoc_data.topics import topics

    paragraphs = [paragraph for text in topics.values() for paragraph in re.split(r"\n\s*\n", text)]
    plain = (re.sub(f"[^{re.escape(ALPHABET)}]+", " ", text.lower()) for text in paragraphs if _is_prose(text))
    return " ".join(dict.fromkeys(re.sub(" +", " ", text).strip() for text in plain))


def _is_prose(text: str) -> bool:
    """Sentences: they begin with a capital at the margin, end with a full stop and are mostly letters."""
    letters = sum(character.isalpha() or character.isspace() for character in text)
    return text[:1].isupper() and text.rstrip().endswith(".") and letters > 0.9 * len(text)


def digest() -> str:
    """What tells this text from that of another Python: the start of its SHA-256."""
    return hashlib.sha256(prose().encode()).hexdigest()[:12]


@cache
def parts(context: int) -> dict[str, Batch]:
    """``context`` characters (n, context) and the one that follows: the first 80 % of the text, and a tenth each."""
    text = torch.tensor([ALPHABET.index(character) for character in prose()])
    ends = [round(len(text) * share) for share in (0, 0.8, 0.9, 1.0)]
    found = {}
    for part, start, end in zip(("train", "validation", "test"), ends, ends[1:], strict=False):
        windows = text[start:end].unfold(0, context + 1, 1)
        if part != "train":
            windows = windows[:: max(1, len(windows) // _LOOKED)]
        found[part] = (windows[:, :-1].contiguous(), windows[:, -1].contiguous())
    return found


def characters(setup: Setup, *, context: int = 8, width: int = 128) -> dict[str, Any]:
    """Each character as 16 learned numbers, two hidden layers of ``width`` units, one output a character.

    The score is the share of the bits of a uniform guess that is saved, 1 − bits/log₂ 31, or 0 where that is less.
    Tells as well: bits (a character of the test part), and the same before training; text (``digest``).
    """
    whole(1, context=context, width=width)
    data = parts(context)
    model = nn.Sequential(
        OrderedDict(
            embedding=nn.Embedding(len(ALPHABET), 16),
            flat=nn.Flatten(),
            linear1=nn.Linear(16 * context, width),
            act1=layer(setup.activation),
            linear2=nn.Linear(width, width),
            act2=layer(setup.activation),
            output=nn.Linear(width, len(ALPHABET)),
        )
    )
    setup.initialise(model)
    nn.init.normal_(model.get_parameter("embedding.weight"), generator=setup.generator(2))
    problem = Problem(
        model=model,
        batches=shuffled(data["train"], _BATCH, setup.generator(1)),
        parts={**data, "train": (data["train"][0][:_LOOKED], data["train"][1][:_LOOKED])},
        loss=nn.functional.cross_entropy,
        score=_saved,
        goals=(0.3, 0.4, 0.45, 0.5),
        extras=lambda model: {"bits": _bits(*_outputs(model, data["test"]))},
    )
    return {**train(setup, problem), "text": digest()}


def _outputs(model: nn.Module, part: Batch) -> Batch:
    with torch.no_grad():
        return model(part[0]), part[1]


def _bits(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float(nn.functional.cross_entropy(outputs.double(), targets)) / math.log(2.0)


def _saved(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    saved = 1.0 - _bits(outputs, targets) / UNIFORM
    return saved if saved > 0.0 else 0.0
