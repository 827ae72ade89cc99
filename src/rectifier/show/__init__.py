"""A function as in a lecture: f and f′ with their kinks, and all that its row says.

:mod:`.curves` samples it, :mod:`.text` draws it in a terminal, :mod:`.figure` as PNG, SVG or PDF, :mod:`.html` as the
card of a notebook. What is said comes from the row, what is drawn from the function itself.
"""
