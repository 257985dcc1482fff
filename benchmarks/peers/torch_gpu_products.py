"""Matrix products and convolutions of PyTorch (cuBLAS, cuDNN), in float32 without TF32; formulas and reductions over much memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch  # type: ignore[import-not-found,unused-ignore]


def wait() -> None:
    torch.cuda.synchronize()


def products_of(cases: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """name, or name: gradient -> what computes it. A case has shapes `a` and `b`, and a padding `pad` if they are images and filters."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    made: dict[str, Callable[[], Any]] = {}
    for name, case in cases.items():
        a, b = (torch.randn(shape, device="cuda") for shape in (case.a, case.b))
        if len(case.a) == 2:
            made[name] = lambda a=a, b=b: a @ b
            continue
        g = torch.randn_like(torch.nn.functional.conv2d(a, b, padding=case.pad))
        how: dict[str, Any] = {"padding": case.pad}
        made[name] = lambda a=a, b=b, how=how: torch.nn.functional.conv2d(a, b, **how)
        made[f"{name}: input"] = lambda a=a, b=b, g=g, how=how: torch.nn.grad.conv2d_input(a.shape, b, g, **how)
        made[f"{name}: weights"] = lambda a=a, b=b, g=g, how=how: torch.nn.grad.conv2d_weight(a, b.shape, g, **how)
    return made


def bandwidth_of(source: Any) -> dict[str, Callable[[], Any]]:
    """name -> what goes over the memory of `source`; chains are compiled, as they are slow otherwise."""
    x, y = torch.from_numpy(source).cuda(), torch.zeros(len(source), device="cuda")
    rows, out = x.view(-1, 1000), torch.empty(len(source), device="cuda")
    chain = torch.compile(lambda x: torch.tanh(x) * torch.exp(-x) + x * x)
    return {
        "copy": lambda: out.copy_(x), "chain": lambda: chain(x), "update in place": lambda: y.mul_(0.9).add_(x), "sum": x.sum, "max": x.max,
        "row sums": lambda: rows.sum(1), "column sums": lambda: rows.sum(0), "softmax of rows": lambda: torch.softmax(rows, 1),
    }  # fmt: skip
