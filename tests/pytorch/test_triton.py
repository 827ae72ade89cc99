"""The Triton kernels: in Triton's interpreter everywhere, on a GPU where there is one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import rectifier
import rectifier.torch as rt

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
CASES = [("relu", 0.0), ("relu", 0.5), ("leaky_relu", 0.01), ("leaky_relu", 0.0), ("abs", 0.0), ("relu6", 6.0)]


def check(device: str) -> None:
    """Values, bits and gradients of every case, dtype and odd size against NumPy's functions."""
    from rectifier.frameworks.torch import kept, triton_kernels

    generator = torch.Generator().manual_seed(0)
    special = torch.tensor([0.0, -0.0, 6.0, 7.0, -np.inf, np.inf, np.nan, 1e-40, -1e-40])
    for name, number in CASES:
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            for size in (1, 9, 2051):
                z = torch.cat([special, 4 * torch.randn(size, generator=generator)])[-size:].to(dtype)
                dh = torch.randn(size, generator=generator).to(dtype)
                h, bits, plane = triton_kernels.with_gate(name, z.to(device), number)
                dz = triton_kernels.backward(name, dh.to(device), h.stride(), number, bits, plane).cpu()
                parameters = {p.name: number for p in rectifier.family[name].parameters}
                at_least = z.float().numpy()
                gate = getattr(rectifier, name).gate(at_least)
                if name == "relu6":  # of what lies inside
                    gate = rectifier.relu.gate(np.where(at_least >= 6, 0, at_least))
                assert np.array_equal(bits.cpu().numpy(), gate.bits), (name, dtype, size)
                same(h.cpu(), getattr(rt, name)(z, **parameters), 1 if name == "leaky_relu" else 0)
                leaf = z.clone().requires_grad_()
                (expected,) = torch.autograd.grad(getattr(rt, name)(leaf, **parameters), leaf, dh)
                same(dz, expected, 1 if name == "leaky_relu" else 0)
                again = kept.from_gate(name, dh.to(device), h.stride(), number, bits, plane).cpu()
                same(again, dz, 1 if name == "leaky_relu" else 0)
    z = torch.randn(2, 3, 4, 5, generator=generator).contiguous(memory_format=torch.channels_last).to(device)
    h, bits, _ = triton_kernels.with_gate("relu", z, 0.0)
    assert h.stride() == z.stride()
    one = torch.ones((), device=device).expand(z.shape)  # a gradient with stride 0
    assert torch.equal(triton_kernels.backward("relu", one, h.stride(), 0.0, bits, None), (z > 0).float())


def same(ours: torch.Tensor, theirs: torch.Tensor, ulp: int) -> None:
    """Bit for bit, or off by the rounding of 16 bits in two steps."""
    integer = torch.int32 if ours.dtype is torch.float32 else torch.int16
    if ours.dtype is torch.float32:
        ulp = 0
    off = (ours.detach().view(integer).long() - theirs.detach().view(integer).long()).abs()
    assert not off.numel() or int(torch.where(torch.isnan(theirs), 0, off).amax()) <= ulp
    assert torch.equal(torch.isnan(ours), torch.isnan(theirs))


def test_in_the_interpreter() -> None:
    code = (
        "import importlib.util, sys; spec = importlib.util.spec_from_file_location('here', sys.argv[1]); "
        "here = importlib.util.module_from_spec(spec); spec.loader.exec_module(here); here.check('cpu')"
    )
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_the_gpu() -> None:
    check("cuda")
    z = torch.randn(1000, 1001, device="cuda", requires_grad=True)
    h = rt.leaky_relu(z)
    h.sum().backward()
    assert type(h.grad_fn).__name__ == "FromGateBackward"
    assert z.grad is not None and torch.equal(z.grad, torch.where(z > 0, 1.0, 0.01))
