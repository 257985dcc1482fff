"""Lowered programs, verified and run by the interpreter of Loops: no C compiler has a part in it.

Each graph goes down the whole road but for its last stage. What `exprc.lower` made is verified and interpreted, with every access
checked, and must give what the NumPy references of the records give, for sizes that are constants and for sizes that
are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import exprc.tensor as T
from exprc.compiled import Compiled, storable
from exprc.expr import Expr, Input
from exprc.interpret import interpret, interpret_function
from exprc.loops import Barrier, Let, Load, Loop, Program, Store
from exprc.loops_text import text_of
from exprc.lower import distribute
from exprc.machines.cpu import CpuMachine
from exprc.reference import evaluate
from exprc.rewrite.expand import expand
from exprc.runtime import compiler, cpu
from exprc.schedule import fuse
from exprc.size import substitute
from exprc.verify import verify


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage that compiles and loads gives nothing."""
    monkeypatch.setattr(cpu, "load", lambda texts, target: SimpleNamespace(run=None))


def programs(roots: Sequence[Expr], inputs: Sequence[Input], calls: Sequence[Sequence[np.ndarray]], target: Any) -> list[Any]:
    """The loaded program (without code) and the sizes for each call of the same function."""
    road = Compiled(storable(expand(list(roots))), len(roots), [], list(inputs), CpuMachine(target, lambda: 1))
    found = []
    for arrays in calls:
        values = dict(zip(inputs, arrays))
        runner, sizes = road.runner(road.signature(values))
        found.append((runner.loaded, list(sizes)))
    return found


def run(loaded: Any, sizes: Sequence[int], values: dict[Input, np.ndarray]) -> list[np.ndarray]:
    """Verify a program and interpret its steps, one after the other."""
    program: Program = loaded.lowered
    verify(program)
    known = dict(zip(program.sizes, sizes))
    number = lambda d: d if isinstance(d, int) else int(substitute(d, known))
    arrays = {b.name: np.zeros(number(b.size), b.dtype) for b in program.buffers}
    for buffer, leaf in loaded.plan.leaves.items():
        value = values[leaf] if leaf in values else leaf.value
        arrays[buffer.name] = np.ascontiguousarray(value).ravel()
    for step in program.steps:
        if not isinstance(step, Barrier):
            assert interpret(step, arrays, known) == {}, text_of(step)
    outputs = loaded.plan.outputs
    return [arrays[s.buffer.name].reshape([number(d) for d in s.dims]) for s in outputs]


x, y, v = T.matrix("x"), T.matrix("y"), T.vector("v")
t = T.tensor3("t")
k = T.ivector("k")

GRAPHS: list[tuple[str, list[Input], Callable[[], Any]]] = [
    ("chain", [x], lambda: T.exp(x * 2 - 1) + abs(x)),
    ("broadcast", [x, v], lambda: x * v + v),
    ("column", [x], lambda: x - x.mean(axis=1, keepdims=True)),
    ("transpose", [x], lambda: x.T * 2),
    ("sum of rows", [x], lambda: x.sum(axis=1)),
    ("sum of columns", [x], lambda: x.sum(axis=0)),
    ("sum", [x], lambda: x.sum()),
    ("sum of a transpose", [x], lambda: (x.T * 3).sum(axis=0)),
    ("mean and variance", [x], lambda: [x.mean(axis=0), T.var(x, axis=0)]),
    ("max, min", [x], lambda: [x.max(axis=1), x.min(axis=0)]),
    ("argmax, argmin", [x], lambda: [T.argmax(x, axis=1), T.argmin(x, axis=0), T.argmax(x)]),
    ("any, all", [x], lambda: [T.any(x > 0, axis=1), T.all(x > -9, axis=0)]),
    ("softmax", [x], lambda: T.softmax(x)),
    ("log_softmax", [x], lambda: T.log_softmax(x)),
    ("logsumexp", [x], lambda: T.logsumexp(x, axis=0)),
    ("three axes", [t], lambda: [t.sum(axis=(0, 2)), t.max(axis=1), t.sum(axis=2)]),
    ("moved axes", [t], lambda: t.dimshuffle(2, 0, "x", 1) + 1),
    ("flatten", [t], lambda: t.flatten() * 2),
    ("reshape", [t], lambda: t.reshape((-1, 2))),
    ("slices", [x], lambda: [x[1:], x[:, ::-1], x[::2, 1:3] * 2, x[-1]]),
    ("concatenate", [x, y], lambda: T.concatenate([x, y * 2], axis=1)),
    ("stack", [x, y], lambda: T.stack([x, y])),
    ("gather", [x, k], lambda: x[k] * 2),
    ("set_subtensor", [x], lambda: T.set_subtensor(x[1:3], 7.0)),
    ("inc_subtensor", [x], lambda: T.inc_subtensor(x[:, 1:], 1.0)),
    ("index", [x], lambda: x + T.arange(x.shape[1])),
    ("eye", [x], lambda: x * T.eye(x.shape[0], x.shape[1])),
    ("integers", [k], lambda: [k // 3, k % 3, k * k, T.cast(k, "int8") + T.cast(100, "int8")]),
    ("two results", [x, y], lambda: [x + y, (x + y).sum(axis=1), (x * y).max()]),
    ("where", [x], lambda: T.where(x > 0, x, T.exp(x) - 1)),
    ("functions in turn", [x, y], lambda: [T.exp(T.sin(x) + y) * T.tanh(x), T.where(T.tanh(x) > y, T.sinh(y), x), T.erf(y) - x]),
]

SHAPES = [(4, 6), (5, 18), (9, 2), (3, 37)]


def arrays_of(inputs: Sequence[Input], shape: tuple[int, int]) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    n, m = shape
    of = {
        x: random.standard_normal((n, m)), y: random.standard_normal((n, m)), v: random.standard_normal(m),
        t: random.standard_normal((2, n, m)), k: random.integers(-n, max(n, 1), n + 2),
    }  # fmt: skip
    return [of[i].astype(i.dtype) for i in inputs]


def agree(got: Sequence[np.ndarray], roots: Sequence[Expr], values: dict[Input, np.ndarray]) -> None:
    for result, root, wanted in zip(got, roots, evaluate(roots, values)):
        assert result.dtype == wanted.dtype and result.shape == wanted.shape
        if result.dtype.kind == "f":
            np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-5, err_msg=root.op.name)
        else:
            np.testing.assert_array_equal(result, wanted, err_msg=root.op.name)


@pytest.mark.parametrize("target", [compiler.AVX512, compiler.SCALAR], ids=lambda target: target.name)
@pytest.mark.parametrize("name, inputs, build", GRAPHS, ids=[name for name, *_ in GRAPHS])
def test_lowered_graph_is_its_reference(name: str, inputs: list, build: Callable, target: Any, no_compiler: None) -> None:
    """The first shapes make constants of the sizes, the later ones arguments."""
    made = build()
    roots = made if isinstance(made, list) else [made]
    calls = [arrays_of(inputs, shape) for shape in SHAPES]
    found = programs(roots, inputs, calls, target)
    assert found[0][1] == [] and found[2][1] != [], "sizes become arguments once they have taken three values"
    for (loaded, sizes), arrays in zip(found, calls):
        values = dict(zip(inputs, arrays))
        agree(run(loaded, sizes, values), roots, values)


def test_what_was_joined_is_read_where_each_part_went(no_compiler: None) -> None:
    """In one pass with the stores of the parts, whose indices in themselves are all 0."""
    total = v.sum().dimshuffle("x", "x")
    joined = T.concatenate([total, total, T.sin(total)], axis=1)
    values = {v: np.arange(1, 6, dtype="float32")}
    for k in range(3):
        roots = [joined[:, k : k + 1]]
        [(loaded, sizes)] = programs(roots, [v], [[values[v]]], compiler.AVX512)
        agree(run(loaded, sizes, values), roots, values)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1), (1, 40), (40, 1)])
@pytest.mark.parametrize("name", ["chain", "sum of rows", "sum of columns", "sum", "concatenate", "flatten"])
def test_empty_and_thin_arrays(name: str, shape: tuple[int, int], no_compiler: None) -> None:
    inputs, build = next((i, b) for n, i, b in GRAPHS if n == name)
    arrays = arrays_of(inputs, shape)
    [(loaded, sizes)] = programs([build()], inputs, [arrays], compiler.AVX512)
    values = dict(zip(inputs, arrays))
    agree(run(loaded, sizes, values), [build()], values)


@pytest.mark.parametrize("count", [100, 203])
def test_a_reduction_cut_in_parts(count: int, no_compiler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "CUT", 100)
    values = {v: np.random.default_rng(0).standard_normal(count).astype("float32")}
    roots = [v.sum(), T.argmax(v), v.max()]
    [(loaded, sizes)] = programs(roots, [v], [[values[v]]], compiler.AVX512)
    assert "in 16 parts" in text_of(loaded.lowered)
    agree(run(loaded, sizes, values), roots, values)


def test_rows_cut_in_parts(no_compiler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "CUT", 100)
    values = dict(zip([x], arrays_of([x], (23, 5))))
    roots = [x.sum(axis=0), T.argmin(x, axis=0)]
    [(loaded, sizes)] = programs(roots, [x], [[values[x]]], compiler.AVX512)
    assert "in 16 parts" in text_of(loaded.lowered)
    agree(run(loaded, sizes, values), roots, values)


def flat_loops(roots: Sequence[Expr], values: dict[Input, np.ndarray]) -> list[Loop]:
    """The loops of a program that is one elementwise kernel; its results are compared with the references."""
    [(loaded, sizes)] = programs(roots, list(values), [list(values.values())], compiler.AVX512)
    agree(run(loaded, sizes, values), roots, values)
    [kernel] = loaded.lowered.steps
    return [s for s in kernel.body if isinstance(s, Loop)]


def test_a_loop_calls_one_function(no_compiler: None) -> None:
    """What was worked out is handed on in arrays, what is only read is read again; a value that both results need is worked out once."""
    random = np.random.default_rng(2)
    u = T.vector("u")
    values = {i: random.standard_normal(1100).astype("float32") for i in (v, u)}
    later = T.exp(T.sin(v) + u)
    loops = flat_loops([later * v, later > T.tanh(u)], values)
    assert [len(distribute.calls(loop.body)) for loop in loops] == [1, 1, 1]
    stored = [[s.buffer for s in loop.body if isinstance(s, Store)] for loop in loops]
    loaded = [[s.value.buffer for s in loop.body if isinstance(s, Let) and isinstance(s.value, Load)] for loop in loops]
    handed_on = [b for b in stored[0] if b.local]
    assert len(handed_on) == 1 and handed_on[0] in loaded[1]
    assert sum(not b.local for loop in stored for b in loop) == 2
    assert len({b for loop in loaded for b in loop if not b.local}) == 2 < sum(not b.local for loop in loaded for b in loop)


def test_one_function_or_too_much_to_hand_on_is_one_loop(no_compiler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {v: np.linspace(-2, 2, 700, dtype="float32")}
    assert len(flat_loops([T.exp(v) * v + T.sqrt(abs(v))], values)) == 1
    assert len(flat_loops([T.exp(T.sin(v))], values)) == 2
    monkeypatch.setattr(distribute, "ROOM", 4 * distribute.PIECE - 1)
    assert len(flat_loops([T.exp(T.sin(v))], values)) == 1


def test_hooks_of_a_matrix_product(no_compiler: None) -> None:
    """The hooks of the product's text, called as the text calls them: bias and relu come with the store."""
    w = T.matrix("w")
    root = T.maximum(T.dot(x, w) * 2 + v, 0)
    values = {
        x: np.arange(20, dtype="float32").reshape(4, 5),
        w: np.arange(-8, 7, dtype="float32").reshape(5, 3),
        v: np.array([1, -500, 3], "float32"),
    }
    [(loaded, _)] = programs([root], list(values), [list(values.values())], compiler.AVX512)
    verify(loaded.lowered)
    [step] = loaded.lowered.steps
    hook = {h.name: h for h in step.hooks}
    arrays = {b.name: np.zeros(b.size, b.dtype) for b in step.buffers}
    arrays |= {b.name: values[leaf].ravel() for b, leaf in loaded.plan.leaves.items()}

    def call(name: str, *arguments: Any) -> Any:
        return interpret_function(hook[name], arguments, arrays, buffers=step.buffers)

    for i, j in np.ndindex(4, 3):
        total = sum(call("LOAD_a", 0, i, k) * call("LOAD_b", 0, k, j) for k in range(5))
        call("STORE_y", 0, i, j, total)
        assert call("PTR_b", 0, 4, j)[0] == values[w][4, j]
    [output] = loaded.plan.outputs
    agree([arrays[output.buffer.name].reshape(4, 3)], [root], values)
