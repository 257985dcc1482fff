"""Matrix products and convolutions of PyTorch (cuBLAS, cuDNN), in float32 without TF32."""

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
