"""What importing the room loads."""

from __future__ import annotations

import subprocess
import sys


def test_dynamo_waits_until_something_is_compiled() -> None:
    """It takes a second, and Triton with it, which ends a process that has loaded TensorFlow."""
    program = (
        "import sys, torch, rectifier.torch as rt; h = rt.selu(torch.ones(3, requires_grad=True)); h.sum().backward(); "
        "rt.ReLU()(torch.ones(3)); print('torch._dynamo' in sys.modules, 'triton' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.split(), done.stderr) == (["False", "False"], "")
