"""Keras: one callback for ``fit``, on whichever backend Keras runs; then recycling, and the training goes on."""

import keras
from keras import layers
from sklearn.datasets import load_digits

import rectifier
import rectifier.keras as rk

images, classes = load_digits(return_X_y=True)
images = images / 16
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((64,)),
        layers.Dense(64, activation="relu", name="first"),
        layers.Dense(32, activation="relu", name="second"),
        layers.Dense(10, name="classes"),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.03), loss)  # too large a step: some units die of it

watch = rk.Watch([(images[:600], classes[:600])], every=20)  # 1: what the looks are taken at
model.fit(images, classes, batch_size=64, epochs=4, verbose=0, callbacks=[watch])
rectifier.report(watch.record, html="watched.html", force=True)  # 2: here, and as a page

record = rectifier.check(model, [images])  # 3: of the weights as they are now
receipts = rectifier.heal(model, record, model.optimizer, probe=images, seed=0)
print(f"{sum(len(receipt.units) for receipt in receipts)} units start anew")
model.fit(images, classes, batch_size=64, epochs=2, verbose=0)
