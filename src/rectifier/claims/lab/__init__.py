"""The machinery of the laboratory; it knows no claim.

claim → plan → sweep (engines run it, records keep it) → results → verdict → page.
"""
