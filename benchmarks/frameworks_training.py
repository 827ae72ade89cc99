"""Trains on the digits in Keras, on each backend: our functions beside Keras's own, from the same weights and batches.

Run with ``python benchmarks/frameworks_training.py [--backends NAMES] [--seeds N] [--steps N] [--write]``.
Each backend has a process of its own. ``--write`` puts the table into docs/frameworks.md.

64-64-64-10, batches of 128, plain gradient descent, a fifth of the digits held out. Weights and batches come from
NumPy, so that they are the same on every backend.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

PAGE = Path(__file__).parents[1] / "docs" / "frameworks.md"
BEGIN, END = "<!-- training: written by benchmarks/frameworks_training.py -->", "<!-- end of training -->"
BACKENDS = ("torch", "jax", "tensorflow")
SIZES = (64, 64, 64, 10)


def pairs() -> Mapping[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """name → what makes our layer, what makes Keras's."""
    import keras

    import rectifier.keras as rk

    def theirs(name: str) -> Callable[[], Any]:
        return lambda: keras.layers.Activation(name)

    return {
        "relu": (rk.ReLU, keras.layers.ReLU),
        "leaky_relu": (lambda: rk.LeakyReLU(0.2), lambda: keras.layers.LeakyReLU(0.2)),
        "prelu": (rk.PReLU, lambda: keras.layers.PReLU(keras.initializers.Constant(0.25))),
        "relu6": (rk.ReLU6, theirs("relu6")),
        "elu": (rk.ELU, keras.layers.ELU),
        "celu": (rk.CELU, theirs("celu")),
        "selu": (rk.SELU, theirs("selu")),
        "softplus": (rk.Softplus, theirs("softplus")),
    }


def train(make: Callable[[], Any], seeds: int, steps: int) -> list[dict[str, Any]]:
    """Losses and held-out accuracy of each seed, with layers that ``make`` makes."""
    import keras

    data = load_digits()
    x, y = (data.data / 16).astype(np.float32), data.target.astype(np.int32)
    hidden = [one for size in SIZES[1:-1] for one in (keras.layers.Dense(size), make())]
    model = keras.Sequential([keras.Input((SIZES[0],)), *hidden, keras.layers.Dense(SIZES[-1])])
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    start = model.get_weights()
    runs = []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        order = random.permutation(len(x))
        held, used = order[: len(x) // 5], order[len(x) // 5 :]
        kernels = [w.ndim == 2 for w in start]  # the rest begins as the layers would have it
        model.set_weights(
            [
                (random.normal(size=w.shape) * (2 / len(w)) ** 0.5).astype(np.float32) if kernel else w
                for w, kernel in zip(start, kernels, strict=True)
            ]
        )
        losses = []
        for _ in range(steps):
            batch = random.choice(used, 128)
            model.reset_metrics()
            losses.append(float(model.train_on_batch(x[batch], y[batch])))
        right = np.argmax(keras.ops.convert_to_numpy(model(x[held])), 1) == y[held]
        runs.append({"losses": losses, "accuracy": float(right.mean())})
    return runs


def measure(seeds: int, steps: int) -> dict[str, Any]:
    """On the backend of this process."""
    import keras

    rows = {}
    for name, (ours, theirs) in pairs().items():
        mine, other = train(ours, seeds, steps), train(theirs, seeds, steps)
        losses, their_losses = (np.array([run["losses"] for run in runs]) for runs in (mine, other))
        rows[name] = {
            "ours": [run["accuracy"] for run in mine],
            "theirs": [run["accuracy"] for run in other],
            "identical": int((losses == their_losses).all(1).sum()),
            "first": float(np.max(np.abs(losses[:, :5] / their_losses[:, :5] - 1))),
            "last": float(np.max(np.abs(losses[:, -1] - their_losses[:, -1]))),
        }
    framework = __import__(keras.backend.backend())
    return {"backend": f"{keras.backend.backend()} {framework.__version__}", "keras": keras.__version__, "rows": rows}


def table(found: list[dict[str, Any]], seeds: int, steps: int) -> str:
    where = "; ".join(one["backend"] for one in found)
    lines = [
        f"Keras {found[0]['keras']} on {where}; {seeds} seeds, {steps} steps each.",
        "",
        "| f | backend | accuracy, ours | Keras's own | identical losses | largest difference of the last loss |",
        "|---|---|---|---|---|---|",
    ]
    for name in found[0]["rows"]:
        for one in found:
            row = one["rows"][name]
            ours, theirs = (
                f"{np.mean(row[who]):.4f} [{min(row[who]):.3f}, {max(row[who]):.3f}]" for who in ("ours", "theirs")
            )
            backend = one["backend"].split()[0]
            lines.append(
                f"| {name} | {backend} | {ours} | {theirs} | {row['identical']} of {seeds} | {row['last']:.1e} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--here", action="store_true", help="this process's backend alone, as JSON")
    given = parser.parse_args()
    if given.here:
        print(json.dumps(measure(given.seeds, given.steps)))
        return
    found = []
    for backend in given.backends.split(","):
        command = [sys.executable, __file__, "--here", f"--seeds={given.seeds}", f"--steps={given.steps}"]
        quiet = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=os.environ | quiet, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    text = table(found, given.seeds, given.steps)
    print(text)
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        head, rest = page.split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
        print(f"Wrote {PAGE}")


if __name__ == "__main__":
    main()
