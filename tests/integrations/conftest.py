"""Small trainings on one thread."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

# TensorBoard asks for this module before it loads TensorFlow, which takes seconds and is not needed to read its files.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
