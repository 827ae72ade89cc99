"""Times a training with the callback beside the same training without, for Lightning and transformers, as ratios.

Run with ``python benchmarks/integrations.py [--only lightning|transformers] [--rounds N] [--json FILE] [--write]``.
Each round runs the whole ``fit()`` or ``train()`` of each way, in another order each time, on one thread; what is
compared is processor time, which other programs disturb less than the clock. A ratio is one run's time over that of the
plain run of its round, and what is shown is the median with the quartiles. ``--write`` puts the table of those JSON
files into docs/integrations.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

PAGE = Path(__file__).parents[1] / "docs" / "integrations.md"
BEGIN, END = "<!-- written by benchmarks/integrations.py -->", "<!-- end -->"
#: name of the way → whether it has the callback
WAYS = {"without": False, "without, again": False, "with": True}


def lightning(watched: bool, steps: int) -> tuple[float, int]:
    """Processor seconds of a fit, and looks."""
    import lightning.pytorch as pl

    from rectifier.torch.lightning import WatchCallback

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    torch.manual_seed(1)
    data = TensorDataset(torch.randn(50 * 128, 64), torch.randint(10, (50 * 128,)))
    batches = DataLoader(data, batch_sampler=[list(range(n, n + 128)) for n in range(0, 50 * 128, 128)])
    watch = WatchCallback()
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch] if watched else [],
    )
    begun = time.process_time()
    trainer.fit(Module(), batches)
    return time.process_time() - begun, looks(watch.record) if watched else 0


def transformers(watched: bool, steps: int) -> tuple[float, int]:
    """Processor seconds of a training, and looks."""
    from transformers import OPTConfig, OPTForCausalLM, PrinterCallback, Trainer, TrainingArguments

    from rectifier.torch.transformers import WatchCallback

    torch.manual_seed(0)
    model = OPTForCausalLM(
        OPTConfig(
            vocab_size=256,
            hidden_size=64,
            word_embed_proj_dim=64,
            ffn_dim=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            activation_function="relu",
        )
    )
    tokens = torch.randint(4, 256, (256, 64))
    data = [{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": row} for row in tokens]
    watch = WatchCallback()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=8,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            logging_strategy="no",
        )
        trainer = Trainer(model, arguments, train_dataset=data, callbacks=[watch] if watched else [])
        trainer.remove_callback(PrinterCallback)
        begun = time.process_time()
        trainer.train()
        taken = time.process_time() - begun
    return taken, looks(watch.record) if watched else 0


def looks(record: Any) -> int:
    return sum(len(snapshot.looked) for snapshot in record.snapshots)


#: name: (training, steps, what it is called)
TRAININGS: dict[str, tuple[Callable[[bool, int], tuple[float, int]], int, str]] = {
    "lightning": (lightning, 1600, "Lightning: MLP 64-256-256-10, batch 128"),
    "transformers": (transformers, 300, "transformers: OPT with 2 layers of 64, 8 × 64 tokens"),
}


def measured(name: str, rounds: int) -> list[dict[str, Any]]:
    training, steps, _ = TRAININGS[name]
    training(True, 20)  # imports and first calls
    ways = list(WAYS)
    runs = []
    for turn in range(rounds):
        turned = ways[turn % len(ways) :] + ways[: turn % len(ways)]
        runs.append({way: training(WAYS[way], steps) for way in turned})
    rows = []
    for way in ways[1:]:
        ratios = sorted(run[way][0] / run["without"][0] for run in runs)
        rows.append(
            {
                "training": name,
                "way": way,
                "step": statistics.median(run["without"][0] for run in runs) / steps,
                "ratio": statistics.median(ratios),
                "quartiles": (ratios[len(ratios) // 4], ratios[len(ratios) * 3 // 4]),
                "looks": statistics.median(run[way][1] for run in runs),
                "steps": steps,
                "rounds": rounds,
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    versions = f"PyTorch {torch.__version__} with {torch.get_num_threads()} thread"
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, {versions}; median of {rows[0]['rounds']} rounds (quartiles).",
        "",
        "| training | step | way | time ÷ without | looks |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["quartiles"]
        seen = f"{row['looks']:.0f} in {row['steps']} steps" if row["looks"] else "–"
        lines.append(
            f"| {TRAININGS[row['training']][2]} | {row['step'] * 1e3:.2f} ms | {row['way']} | {row['ratio']:.3f} "
            f"({low:.3f} to {high:.3f}) | {seen} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(TRAININGS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, action="append", default=[])
    parser.add_argument("--write", action="store_true", help="put the table of these JSON files into the page")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.write:
        rows = [row for path in given.json for row in json.loads(path.read_text(encoding="utf-8"))]
        head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n\n{table(rows)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
        print(f"Wrote {PAGE}", file=sys.stderr)
        return
    warnings.simplefilter("ignore")  # the trainers' advice about workers and loggers
    logging.disable(logging.WARNING)
    rows = [row for name in TRAININGS if given.only in (None, name) for row in measured(name, given.rounds)]
    print(table(rows))
    for path in given.json:
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        print(f"Wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
