"""transformers: one callback for the Trainer; its numbers are added to the Trainer's own log.

A digit is read as a text of its 64 pixels, 17 words of ink, by a small transformer whose feed-forward is ReLU (OPT's).
"""

import torch
from digits import data
from transformers import OPTConfig, OPTForSequenceClassification, Trainer, TrainingArguments

import rectifier
from rectifier.torch.transformers import WatchCallback

torch.manual_seed(0)
model = OPTForSequenceClassification(
    OPTConfig(
        vocab_size=18,  # the ink of a pixel, and one for padding
        pad_token_id=17,
        max_position_embeddings=64,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        activation_function="relu",
        num_labels=10,
    )
)
images, classes = data().tensors
texts = [
    {"input_ids": ink, "attention_mask": torch.ones_like(ink), "labels": label}
    for ink, label in zip((16 * images[:640]).long(), classes, strict=False)
]
arguments = TrainingArguments(
    "out", num_train_epochs=1, per_device_train_batch_size=32, learning_rate=1e-3, logging_steps=20, report_to="none"
)
with WatchCallback() as watch:  # the block, so that an exception in it ends the watch as well
    trainer = Trainer(model, arguments, train_dataset=texts, callbacks=[watch])
    trainer.train()

last = trainer.state.log_history[-1]
print(f"silent at the end: {last['rectifier/judged_silent']:.1%} of {last['rectifier/units']:.0f} units")
rectifier.report(watch.record)
