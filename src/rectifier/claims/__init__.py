"""The laboratory: claims made about ReLU, measured."""
