"""Under the hood: an expression, its gradient, and the C that computes both.

Everything that exprc does can be looked at. Here the loss of logistic regression, written down as in a textbook, goes
all the way: T.exp(-y * s) overflows for a bad score s, and what comes out at the end does not.
"""

from __future__ import annotations

import re

import numpy as np

import exprc
import exprc.tensor as T
from exprc import debugprint


def headline(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def generated(source: str) -> str:
    """Return the functions k0, k1 ... that were generated for a program, without the texts that all programs share."""
    return "\n\n".join(re.findall(r"^/\* [^\n]* \*/\n(?:static )?void k\d+\(.*?^}", source, re.MULTILINE | re.DOTALL))


s = T.vector("s")  # scores, one for each sample
y = T.vector("y")  # -1 or 1
loss = T.mean(T.log(1 + T.exp(-y * s)))
slope = exprc.grad(loss, s)

headline("The expression: nodes with an operation, a type, and the line that made them")
debugprint(loss)

headline("Its gradient: an expression too; log(1 + exp(x)) became softplus before it was differentiated")
debugprint(slope)

both = exprc.function([s, y], [loss, slope], name="both")
scores, signs = np.array([-1000, -1, 0.5, 1000], "float32"), np.array([1, -1, 1, 1], "float32")
value, gradient = both(scores, signs)

headline("The values")
with np.errstate(over="ignore"):
    print(f"NumPy, as written   {np.mean(np.log(1 + np.exp(-signs * scores)))}")
print(f"exprc               {value}\nits gradient        {gradient}")

headline("The stages on the way, with their times")
print(both.explain())

headline("The C: the functions that were generated; both.source is the whole text")
print(generated(both.source))
