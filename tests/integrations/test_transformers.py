"""The callback for the Trainer of transformers, with a tiny transformer made from its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import OPTConfig, OPTForCausalLM, Trainer, TrainerCallback, TrainingArguments

import rectifier
from rectifier.torch.transformers import IllError, WatchCallback

#: Tokens of a text, and those of them that are no padding.
LENGTH, WORDS = 12, 9


def model(shut: float = -50.0) -> OPTForCausalLM:
    """Two layers whose feed-forward is Linear, ReLU, Linear; unit 3 of the first is planted dead."""
    torch.manual_seed(0)
    made = OPTForCausalLM(
        OPTConfig(
            vocab_size=32,
            hidden_size=16,
            word_embed_proj_dim=16,
            ffn_dim=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=LENGTH,
            activation_function="relu",
            dropout=0.0,
        )
    )
    with torch.no_grad():
        made.model.decoder.layers[0].fc1.bias[3] = shut
    return made


def texts(many: int) -> list[dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    tokens = torch.randint(4, 32, (many, LENGTH))
    mask = (torch.arange(LENGTH) < WORDS).long()
    return [{"input_ids": row * mask, "attention_mask": mask, "labels": row.where(mask > 0, -100)} for row in tokens]


def trainer(folder: Path, *callbacks: TrainerCallback, net: nn.Module | None = None, **given: Any) -> Trainer:
    values: dict[str, Any] = {
        "output_dir": str(folder),
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 2,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
        "seed": 5,
        **given,
    }
    return Trainer(
        model() if net is None else net,
        TrainingArguments(**values),
        train_dataset=texts(24),
        eval_dataset=texts(8),
        callbacks=list(callbacks),
    )


def untouched(module: nn.Module) -> bool:
    return all(not m._forward_hooks and not m._forward_pre_hooks for m in module.modules())


@pytest.fixture(autouse=True)
def _quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    capsys.readouterr()


def test_a_training_is_watched_and_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    plain = trainer(tmp_path, eval_strategy="steps", eval_steps=2)
    plain.train()
    watch = WatchCallback(every=2, name="tiny")
    watched = trainer(tmp_path, watch, eval_strategy="steps", eval_steps=2)
    watched.train()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, watched.model.state_dict()[name]), name
    record = watch.record
    assert [s.step for s in record.snapshots] == [1, 2, 4, 6]
    assert (record.model, record.name, record.stopped) == ("OPTForCausalLM", "tiny", None)
    sites = record.last.sites
    assert [site.site for site in sites] == [f"model.decoder.layers.{n}.activation_fn" for n in (0, 1)]
    # 24 texts of 9 words each: neither the padding nor what was evaluated in between
    assert sum(s.sites[0].examples for s in record.snapshots) == 24 * WORDS
    (finding,) = (f for f in record.of("dead", "silent") if "layers.0" in f.site)
    assert 3 in finding.units
    assert sites[0].gradient_rms and record.last.layers[0].update_ratio is not None
    assert untouched(watched.model)


class Reporter(TrainerCallback):
    def __init__(self) -> None:
        self.told: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **given: Any) -> None:
        self.told.append(dict(logs))


def test_reporters_that_came_before_can_be_told_as_well(tmp_path: Path) -> None:
    reporter, watch = Reporter(), WatchCallback(every=2)
    made = trainer(tmp_path, reporter)
    made.callback_handler.callbacks.insert(0, watch)  # as the docs say
    made.train()
    assert [told.get("rectifier/step") for told in reporter.told] == [2, 4, 6, None]


def test_the_trainers_logs_are_told(tmp_path: Path) -> None:
    reporter, looks = Reporter(), list[dict[str, float]]()
    watch = WatchCallback(every=2, log=looks.append)
    made = trainer(tmp_path, watch, reporter)
    made.train()
    assert [numbers["rectifier/step"] for numbers in looks] == [1, 2, 4, 6, 6]
    history = made.state.log_history
    assert [(entry["step"], entry.get("rectifier/step")) for entry in history] == [
        (2, 2),
        (4, 4),
        (6, 6),
        (6, None),  # how long it took
        (6, 6),
    ]
    name = "rectifier/model.decoder.layers.0.activation_fn/silent"
    assert history[0]["loss"] and history[0][name] >= 1 / 24
    assert [told.get("rectifier/step") for told in reporter.told] == [2, 4, 6, None]
    assert reporter.told[0][name] == history[0][name]
    assert history[-1]["rectifier/judged_silent"] == watch.record.share("silent", "dead")


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    watch = WatchCallback(every=1)
    trainer(tmp_path, watch, gradient_accumulation_steps=3).train()
    assert [s.step for s in watch.record.snapshots] == [1, 2]
    assert [s.sites[0].examples for s in watch.record.snapshots] == [12 * WORDS] * 2


def test_bfloat16(tmp_path: Path) -> None:
    watch = WatchCallback(every=1)
    trainer(tmp_path, watch, bf16=True).train()
    assert watch.record.last.sites[0].gradient_rms
    assert {layer.format for layer in watch.record.last.layers} >= {"bfloat16"}


class Broken(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step == 4:
            raise ZeroDivisionError("user code")


def test_an_exception_keeps_the_record(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), WatchCallback(every=2) as watch:
        made = trainer(tmp_path, watch, Broken())
        made.train()
    assert watch.record.stopped == "the watched block raised ZeroDivisionError after step 4: user code"
    assert watch.record.last.step == 4 and untouched(made.model)


def test_without_a_block_the_hooks_stay_until_the_next_training(tmp_path: Path) -> None:
    watch = WatchCallback(every=2)
    made = trainer(tmp_path, watch, Broken())
    with pytest.raises(ZeroDivisionError):
        made.train()
    assert watch.record.last.step == 4 and watch.record.stopped is None
    made.remove_callback(Broken)
    made.train()  # a new record
    assert [s.step for s in watch.record.snapshots] == [1, 2, 4, 6] and untouched(made.model)


def test_a_resumed_training_goes_on_counting(tmp_path: Path) -> None:
    trainer(tmp_path, save_strategy="steps", save_steps=3).train()
    told: list[dict[str, float]] = []
    watch = WatchCallback(every=2, log=told.append)
    trainer(tmp_path, watch).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert [numbers["rectifier/step"] for numbers in told] == [4, 5, 6]
    assert [s.step for s in watch.record.snapshots] == [1, 2, 3]


def test_stop_and_raise_when_ill(tmp_path: Path) -> None:
    def ill() -> OPTForCausalLM:
        made = model()
        with torch.no_grad():
            made.model.decoder.layers[1].fc1.bias.fill_(-50.0)
        return made

    watch = WatchCallback(every=1, when_ill="stop")
    with pytest.warns(RuntimeWarning) as warned:
        trainer(tmp_path, watch, net=ill(), eval_strategy="steps", eval_steps=2).train()
    text = [str(w.message) for w in warned if w.category is RuntimeWarning]
    assert len(text) == 1 and text[0].endswith(". The training ends here.")
    assert text[0].startswith("WatchCallback: the network is ill after step 2: ")
    assert "model.decoder.layers.1.activation_fn, 24 of 24 units: " in text[0]
    assert watch.record.last.step == 2
    with pytest.raises(IllError) as caught, WatchCallback(every=1, when_ill="raise") as raising:
        trainer(tmp_path, raising, net=ill()).train()
    assert caught.value.record.last.step == 6
    assert raising.record.stopped is not None and raising.record.stopped.startswith("the watched block raised IllError")


def test_a_model_that_is_watched_already(tmp_path: Path) -> None:
    net = model()
    with rectifier.watch(net), pytest.raises(rectifier.RectifierValueError) as caught:
        trainer(tmp_path, WatchCallback(), net=net).train()
    assert str(caught.value) == (
        "watch: `model` must not be watched already; got a OPTForCausalLM that is. "
        "Leave the block of the first watch before the second."
    )


def test_an_optimizer_of_another_model(tmp_path: Path) -> None:
    made = trainer(tmp_path, WatchCallback())
    made.optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        made.train()
    assert str(caught.value) == (
        "watch: `optimizer` must step parameters of the model; got SGD with none of them. "
        "Make it from model.parameters()."
    )
