"""Experiments: a configuration in, numbers out. One file holds those that belong together; claims share them.

Nothing here imports a framework before it runs, so that listing the claims stays quick.
"""
