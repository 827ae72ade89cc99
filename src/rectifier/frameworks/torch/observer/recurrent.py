"""Recurrent layers with a ReLU: PyTorch computes them in one call, so their units are seen from what comes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

__all__ = ["is_recurrent", "not_seen", "outputs_of", "parameters_of"]


def is_recurrent(module: nn.Module) -> bool:
    return isinstance(module, (nn.RNN, nn.RNNCell)) and module.nonlinearity == "relu"


def not_seen(name: str, module: nn.Module) -> list[str]:
    """What does not come out: z below 0, where h = relu(z) is 0, and the layers under the last."""
    lines = [f"{name} ({type(module).__name__}): seen by its outputs; pre-activations below 0 and gradients are not"]
    if isinstance(module, nn.RNN) and module.num_layers > 1:
        lines.append(f"{name} (RNN): only the last of its {module.num_layers} layers comes out, the others are unseen")
    return lines


def parameters_of(module: nn.Module) -> tuple[str, ...]:
    """Names of the parameters that act through the units that come out, an entry or a row a unit."""
    if not is_recurrent(module) or isinstance(module, nn.RNN) and module.bidirectional:
        return ()
    end = f"_l{module.num_layers - 1}" if isinstance(module, nn.RNN) else ""
    return f"bias_ih{end}", f"weight_ih{end}"


def outputs_of(module: nn.Module, output: Any) -> tuple[torch.Tensor | None, int]:
    """h = relu(z) of every step, units last (the backward direction's after the forward's), and how many sequences.

    h > 0 where z > 0, so the gates are exact.
    """
    h = output if isinstance(module, nn.RNNCell) else output[0]
    if isinstance(h, PackedSequence):  # holds no padding
        return h.data, int(h.batch_sizes[0])
    if not isinstance(h, torch.Tensor):
        return None, 0
    if h.ndim < 3 and not isinstance(module, nn.RNNCell) or h.ndim < 2:  # one sequence without a batch
        return h, 1
    first = isinstance(module, nn.RNNCell) or bool(module.batch_first)
    return h, h.shape[0 if first else 1]
