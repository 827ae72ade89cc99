"""What the examples share: scikit-learn's 1,797 real handwritten digits, and a small network with ReLUs."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def data() -> TensorDataset:
    """Images (1797, 64) in [0, 1] and their classes."""
    images, classes = load_digits(return_X_y=True)
    return TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(classes))


def batches() -> DataLoader:
    """Shuffled batches of 64, the same each time."""
    return DataLoader(data(), batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


#: Too large for this network with Adam: some of its units die of it, so that there is something to see.
STEP = 0.03
