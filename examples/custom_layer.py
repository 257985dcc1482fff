"""A layer and a loss of one's own, written as expressions; their gradients and their C follow from them."""

import numpy as np

import exprc
import exprc.tensor as T
from exprc import nn
from exprc.datasets import as_floats, digits


class MaxoutLayer(nn.layers.Layer):
    """Each unit is the largest of three linear functions of the input (Goodfellow et al. 2013: Maxout networks)."""

    def __init__(self, incoming, num_units, **kwargs):
        super().__init__(incoming, **kwargs)
        self.num_units = num_units
        self.W = self.add_param(nn.init.HeNormal(), (int(np.prod(self.input_shape[1:])), 3 * num_units), "W")

    def get_output_shape_for(self, input_shape):
        return input_shape[0], self.num_units

    def get_output_for(self, input, **kwargs):
        return T.dot(input.flatten(2), self.W).reshape((-1, self.num_units, 3)).max(axis=2)


def focal_loss(p, t):
    """Cross-entropy that cares less for what is nearly right already (Lin et al. 2017: Focal loss)."""
    right = T.arange(t.shape[0]), t
    return -T.mean((1 - p[right]) ** 2 * T.log(p)[right])


x, t = T.tensor4("x"), T.vector("t", dtype="uint8")
maxout = MaxoutLayer(nn.layers.InputLayer((None, 1, 28, 28), x), num_units=64)
dense = nn.layers.DenseLayer(maxout, num_units=10, nonlinearity=nn.nonlinearities.softmax)
p = nn.layers.get_output(dense)
loss = focal_loss(p, t)
step = exprc.function([x, t], loss, updates=nn.updates.adam(loss, nn.layers.get_all_params(dense), 0.002))
errors = exprc.function([x, t], T.mean(T.neq(p.argmax(axis=1), t)))

pictures, labels = digits(5000)
images = as_floats(pictures)
for epoch in range(8):
    for start in range(0, 4000, 100):
        step(images[start : start + 100], labels[start : start + 100])
    print(f"epoch {epoch + 1}: {100 * float(errors(images[4000:], labels[4000:])):.1f} % errors on new digits", flush=True)
