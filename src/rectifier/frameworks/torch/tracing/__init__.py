"""A PyTorch model as a graph: what follows what, and the steps that bounds are computed from."""
