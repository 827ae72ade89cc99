"""Saved weights alone: files read without running what is in them, and what their numbers prove.

``names`` makes a stranger's names harmless, ``stored`` is what every format is read into, ``tensorfile``, ``archive``
and ``folder`` read, ``layers`` takes the structure from names and shapes, ``parts`` and ``measure`` read each tensor
once, ``findings`` and ``compare`` judge.
"""
