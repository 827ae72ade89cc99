"""Keras: what the check-up needs, and the adapters of the functions and layers; imported only where Keras is used."""
