"""The LeNet of the talks in raw expressions: no layers, no optimiser, every line of it here."""

from __future__ import annotations

import numpy as np

import exprc
import exprc.tensor as T
from exprc.datasets import as_floats, digits, find_mnist, load_mnist, split

BATCH, EPOCHS, RATE, MOMENTUM = 100, 3, 0.05, 0.9
rng = np.random.default_rng(0)


def weights(name, shape, fan_in):
    """Normal numbers whose spread keeps signals as large behind a layer as before it (He et al. 2015)."""
    return exprc.shared((rng.normal(size=shape) * np.sqrt(2 / fan_in)).astype("float32"), name=name)


def biases(name, count):
    return exprc.shared(np.zeros(count, "float32"), name=name)


W1, b1 = weights("W1", (20, 1, 5, 5), 25), biases("b1", 20)
W2, b2 = weights("W2", (50, 20, 5, 5), 500), biases("b2", 50)
W3, b3 = weights("W3", (800, 256), 800), biases("b3", 256)
W4, b4 = weights("W4", (256, 10), 256), biases("b4", 10)
params = [W1, b1, W2, b2, W3, b3, W4, b4]

x = T.tensor4("x", shape=(None, 1, 28, 28))
t = T.vector("t", dtype="uint8")

maps = T.relu(T.pool_2d(T.conv2d(x, W1) + b1.dimshuffle("x", 0, "x", "x"), 2))  # 28 → 24 → 12
maps = T.relu(T.pool_2d(T.conv2d(maps, W2) + b2.dimshuffle("x", 0, "x", "x"), 2))  # 12 → 8 → 4
hidden = T.relu(maps.flatten(2) @ W3 + b3)
p = T.softmax(hidden @ W4 + b4)

cost = -T.mean(T.log(p)[T.arange(t.shape[0]), t])
errors = T.mean(T.neq(p.argmax(axis=1), t))

updates = {}
for w, g in zip(params, exprc.grad(cost, params), strict=True):
    v = exprc.shared(np.zeros_like(w.get_value()), name=f"{w.name}.velocity")
    updates[v] = MOMENTUM * v - RATE * g
    updates[w] = w + updates[v]

step = exprc.function([x, t], cost, updates=updates)
test = exprc.function([x, t], errors)

data = load_mnist() if find_mnist() else split(digits(7000), 5000, 1000, 1000)
images, labels = as_floats(data.train.images), data.train.labels
for epoch in range(EPOCHS):
    batches = rng.permutation(len(labels)).reshape(-1, BATCH)
    mean = np.mean([step(images[b], labels[b]) for b in batches])
    print(f"epoch {epoch + 1}: cost {mean:.4f}", flush=True)
print(f"test error {100 * float(test(as_floats(data.test.images), data.test.labels)):.2f} %")
