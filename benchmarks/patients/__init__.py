"""A public benchmark of planted faults: networks whose every unit is known, and what each tool says about them.

Run with ``python -m benchmarks.patients`` (see :mod:`benchmarks.patients.run`).

``cases/``  the patients: a model, its data, and the truth about each unit
``tools/``  one adapter a tool
``case.py`` what a patient is; ``planting.py`` how a unit is made dead, rare or always open; ``truth.py`` how a patient
            checks its own truth; ``score.py``, ``page.py`` what is made of the answers; ``ranks.py`` two processes
"""
