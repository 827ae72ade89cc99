"""Proofs that a unit can never fire, on plain arrays, and certificates that another can check."""
