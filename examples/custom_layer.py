"""A layer and a loss of one's own, written as expressions; gradients and C follow from them."""

from __future__ import annotations

import numpy as np

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.datasets import as_floats, digits


class MaxoutLayer(nn.layers.Layer):
    """The largest of several linear functions of the input (Goodfellow et al. 2013: Maxout networks)."""

    def __init__(self, incoming, num_units, pieces=3, W=nn.init.HeNormal(), **kwargs):  # noqa: B008
        super().__init__(incoming, **kwargs)
        self.num_units, self.pieces = num_units, pieces
        self.W = self.add_param(W, (int(np.prod(self.input_shape[1:])), num_units * pieces), "W")

    def get_output_shape_for(self, input_shape):
        return input_shape[0], self.num_units

    def get_output_for(self, input, **kwargs):
        return T.dot(input.flatten(2), self.W).reshape((-1, self.num_units, self.pieces)).max(axis=2)


def focal_loss(p, t):
    """Cross-entropy that cares less for what is right already (Lin et al. 2017: Focal loss)."""
    chosen = T.arange(t.shape[0]), t
    return -T.mean((1 - p[chosen]) ** 2 * T.log(p)[chosen])


x, t = T.tensor4("x"), T.vector("t", dtype="uint8")
net = MaxoutLayer(nn.layers.InputLayer((None, 1, 28, 28), x), 64)
net = nn.layers.DenseLayer(net, 10, nonlinearity=nn.nonlinearities.softmax)
p = nn.layers.get_output(net)
loss = focal_loss(p, t)
updates = nn.updates.adam(loss, nn.layers.get_all_params(net, trainable=True), learning_rate=0.002)
step = exprc.function([x, t], loss, updates=updates)
test = exprc.function([x, t], T.mean(T.neq(p.argmax(axis=1), t)))

images, labels = digits(5000)
images = as_floats(images)
for epoch in range(8):
    for start in range(0, 4000, 100):
        step(images[start : start + 100], labels[start : start + 100])
    print(f"epoch {epoch + 1}: error on new digits {100 * float(test(images[4000:], labels[4000:])):.1f} %", flush=True)
