"""How a PyTorch model is watched while it runs: hooks, calls, tallies, and what becomes of them."""
