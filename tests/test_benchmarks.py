"""The benchmarks run: our side for one tiny turn, the calibration, the memory, and the tables on numbers made up here."""

from __future__ import annotations

import argparse
import math
import sys
import xml.etree.ElementTree
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the installed package

import exprc  # noqa: E402
from benchmarks import arrays, cpu, gpu, gpu_check, gpu_resources, graph, memory, nets, roofline, spills, table, turns  # noqa: E402
from benchmarks.calibrate import Machine  # noqa: E402
from benchmarks.exprc_step import training_step  # noqa: E402

TINY = nets.Net("fc256", "a small one", (784,), (nets.Dense(8), nets.Dense(10)))


@pytest.fixture(autouse=True)
def threads_as_before():
    yield
    exprc.set_threads(None)


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "task.npz"
    nets.save_task(path, nets.digits_task(nets.FC256, 4, nets.CHECKED))
    return path


@pytest.fixture
def worker(task):
    arguments = ["--net", "fc256", "--data", str(task), "--threads", "1"]
    with turns.working([turns.Worker("exprc", [sys.executable, "-m", "benchmarks.exprc_step", *arguments], {})]) as workers:
        yield workers[0]


# -- the networks


def test_operations_of_a_step():
    assert nets.step_flops(nets.FC256, 1) == 2 * (3 * (784 * 256 + 256 * 256 + 2560) - 784 * 256)
    lenet = [24 * 24 * 20 * 25, 8 * 8 * 50 * 20 * 25, 800 * 256, 2560]
    assert [w.products for w in nets.weighted(nets.LENET)] == lenet
    assert nets.step_flops(nets.LENET, 128) == 2 * 128 * (3 * sum(lenet) - lenet[0])


def test_parameters_have_the_shapes_of_the_layers():
    shapes = [p.shape for p in nets.first_parameters(nets.LENET)]
    assert shapes == [(20, 1, 5, 5), (20,), (50, 20, 5, 5), (50,), (800, 256), (256,), (256, 10), (10,)]


def test_every_case_is_of_a_network_and_has_peers():
    for case in nets.CASES:
        assert cpu.PEERS[case.net] and nets.output_flops(nets.NETS[case.net], 1) < nets.step_flops(nets.NETS[case.net], 1)


def test_the_essentials_are_cases():
    assert set(cpu.ESSENTIAL) <= {case.net for case in cpu.CASES}
    assert all(set(work.peers) <= set(cpu.ARRAYS) for work in arrays.WORK.values())


def test_batch_normalisation_has_a_scale_instead_of_a_bias():
    shapes = [p.shape for p in nets.first_parameters(nets.LENET_NORM)]
    assert shapes[:3] == [(20, 1, 5, 5), (20,), (20,)] and shapes[-2:] == [(256, 10), (10,)]


def test_resnet_has_the_layers_and_operations_of_the_paper():
    layers = list(nets.weighted(nets.RESNET20))
    assert len([w for w in layers if w.W[2:] == (3, 3)]) == 19
    assert [w.W for w in layers if w.W[2:] == (1, 1)] == [(32, 16, 1, 1), (64, 32, 1, 1)]
    assert [shape for _, shape in nets.shaped(nets.RESNET20)][-3:] == [(64, 8, 8), (64,), (10,)]
    assert nets.output_flops(nets.RESNET20, 1) / 2 == pytest.approx(40.8e6, rel=0.01)  # of He et al., with two convolutions of 1 x 1 more


def test_our_output_is_a_distribution_of_the_classes():
    from benchmarks.exprc_step import Exprc

    task = nets.digits_task(nets.LENET_NORM, 3, 1)
    stepper = Exprc(task, 1, "infer")
    stepper.reset()
    np.testing.assert_allclose(stepper.step(0).sum(axis=1), 1, rtol=1e-5)


def test_a_task_comes_back_from_its_file(task):
    found, made = nets.load_task(task, "fc256"), nets.digits_task(nets.FC256, 4, nets.CHECKED)
    assert found.net is nets.FC256 and found.batch == 4
    assert all(np.array_equal(a, b) for a, b in zip(found.parameters, made.parameters, strict=True))
    assert np.array_equal(found.images, made.images) and np.array_equal(found.labels, made.labels)


# -- our step


def by_hand(task: nets.Task, steps: int) -> tuple[list[float], list[np.ndarray]]:
    """The dense network's first steps, in NumPy and float64."""
    p = [x.astype(np.float64) for x in task.parameters]
    v = [np.zeros_like(x) for x in p]
    losses = []
    for x, labels in zip(task.images[:steps].astype(np.float64), task.labels[:steps], strict=True):
        kept = [x]
        for k in range(0, len(p), 2):
            kept.append(kept[-1] @ p[k] + p[k + 1])
            kept[-1] = np.maximum(kept[-1], 0) if k < len(p) - 2 else kept[-1]
        exps = np.exp(kept[-1] - kept[-1].max(axis=1, keepdims=True))
        probabilities = exps / exps.sum(axis=1, keepdims=True)
        losses.append(float(-np.log(probabilities[np.arange(len(labels)), labels]).mean()))
        gradient = (probabilities - np.eye(10)[labels]) / len(labels)
        gradients: list[np.ndarray] = []
        for k in range(len(p) - 2, -1, -2):
            gradients = [kept[k // 2].T @ gradient, gradient.sum(axis=0), *gradients]
            gradient = (gradient @ p[k].T) * (kept[k // 2] > 0)
        v = [nets.MOMENTUM * a - nets.RATE * g for a, g in zip(v, gradients, strict=True)]
        p = [w + nets.MOMENTUM * a - nets.RATE * g for w, a, g in zip(p, v, gradients, strict=True)]
    return losses, p


def test_our_step_is_that_of_the_textbook():
    from benchmarks.exprc_step import Exprc

    images, labels = nets.digits_task(nets.FC256, 4, 3)[1:3]
    task = nets.Task(TINY, images, labels, nets.first_parameters(TINY))
    stepper = Exprc(task, 1)
    for _ in range(2):  # the second time after reset(), which must undo the momentum too
        stepper.reset()
        ours = [stepper.step(k) for k in range(3)], stepper.parameters()
        assert cpu.difference(ours, by_hand(task, 3))["agrees"]


def test_filters_are_turned_around_for_the_peers():
    from benchmarks.exprc_step import Exprc, flipped

    small = nets.Net("lenet", "a small one", (1, 28, 28), (nets.Conv(2, 5), nets.Pool(4), nets.Dense(10)))
    images = nets.digits_task(nets.LENET, 2, 1)
    task = nets.Task(small, images.images, images.labels, nets.first_parameters(small))
    stepper = Exprc(task, 1)
    stepper.reset()
    W = stepper.shared[0].get_value()
    assert np.array_equal(W, flipped(task.parameters[0])) and not np.array_equal(W, task.parameters[0])
    assert all(np.array_equal(a, b) for a, b in zip(stepper.parameters(), task.parameters, strict=True))


def test_a_worker_takes_turns(worker, tmp_path):
    assert worker.settings["threads"] == 1
    answer = worker.ask(seconds=0.01)
    assert 0 < answer["best"] <= answer["median"] and answer["steps"] >= 1
    losses = worker.ask(check=str(tmp_path / "after.npz"))["losses"]
    assert len(losses) == nets.CHECKED and np.isfinite(losses).all()
    with np.load(tmp_path / "after.npz") as after:
        assert [after[k].shape for k in sorted(after.files)] == [p.shape for p in nets.first_parameters(nets.FC256)]


def test_a_worker_that_ends_says_why():
    with pytest.raises(turns.Failed, match=r"JAX jit ended:\nTraceback[\s\S]*ImportError: no jax here"):
        turns.Worker("JAX jit", [sys.executable, "-c", "raise ImportError('no jax here')"], {})


def test_variables_that_change_a_library_are_removed(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("EXPRC_CPU", "avx2")
    found = turns.environment({"MALLOC_TRIM_THRESHOLD_": "1"})
    assert "OMP_NUM_THREADS" not in found and "MALLOC_ARENA_MAX" not in found
    assert found["EXPRC_CPU"] == "avx2" and found["MALLOC_TRIM_THRESHOLD_"] == "1"
    assert {"MALLOC_ARENA_MAX", "OMP_NUM_THREADS"} <= set(turns.removed())


def test_differences_are_seen():
    ours = [2.0, 1.0], [np.ones(3)]
    assert cpu.difference(ours, ([2.0, 1.0], [np.ones(3)]))["agrees"]
    assert not cpu.difference(ours, ([2.0, 1.001], [np.ones(3)]))["agrees"]
    assert [cpu.room(c) for c in nets.CASES if c.net in ("fc64", "lenet", "vgg")] == [1] * 2 + [10] * 6
    assert not cpu.difference(ours, ([2.0, 1.0], [np.ones(3) + 6e-5]))["agrees"]
    assert not cpu.difference(ours, ([2.0, float("nan")], [np.ones(3)]))["agrees"]
    assert not cpu.difference(ours, ([2.0, 1.0], [np.full(3, np.nan)]))["agrees"]


# -- work on arrays


class NumpyWords:
    """The words of `arrays.WORK` for small arrays of float64; `erf` is Python's."""

    one = 1
    exp, log, sqrt, tanh, sum, matmul = map(staticmethod, (np.exp, np.log, np.sqrt, np.tanh, np.sum, np.matmul))
    erf = staticmethod(np.vectorize(math.erf))
    softplus = staticmethod(lambda x: np.logaddexp(x, 0))
    logsumexp = staticmethod(lambda x: np.log(np.exp(x).sum(axis=1)))
    layer_norm = staticmethod(lambda x, e: (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + e))


def shrunk(work):
    def small(one):
        return one._replace(shape=tuple(min(n, 12) for n in one.shape))

    return work._replace(inputs=tuple(map(small, work.inputs)))


@pytest.mark.parametrize("name", [name for name in arrays.WORK if "NumPy" in arrays.WORK[name].peers or arrays.WORK[name].state])
def test_exprc_computes_what_the_words_say(name):
    from benchmarks.exprc_arrays import Prepared

    work = shrunk(arrays.WORK[name])
    values = arrays.drawn(work)
    prepared = Prepared(work, values, argparse.Namespace(threads=1))
    made = prepared.arrays()
    want = work.write(NumpyWords(), *(v.astype(np.float64) for v in values))
    want = want if isinstance(want, tuple) else (want,)
    for got, exact in zip(made, want, strict=True):
        np.testing.assert_allclose(got, exact, rtol=2e-5, atol=2e-5)
    again = prepared.arrays()  # what a call has updated starts anew
    assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))


def test_gradients_come_after_the_loss():
    from benchmarks.exprc_arrays import Prepared

    work = shrunk(arrays.WORK["mlp64"])
    values = arrays.drawn(work)
    loss, *gradients = Prepared(work, values, argparse.Namespace(threads=1)).arrays()
    assert [g.shape for g in gradients] == [values[k].shape for k in work.wrt]
    step = values[1] * 0
    step[3] = 1e-6
    more, less = (work.write(NumpyWords(), values[0], values[1] + s, *values[2:]) for s in (step, -step))
    assert gradients[1][3] == pytest.approx((more - less) / 2e-6, rel=1e-6) and loss == pytest.approx((more + less) / 2)


def test_images_have_the_peers_geometry():
    from benchmarks.exprc_arrays import Prepared

    for name, shape in (("depthwise", (32, 64, 30, 30)), ("dilated", (32, 64, 28, 28)), ("average", (32, 64, 16, 16))):
        work = arrays.WORK[name]
        values = arrays.drawn(work)
        (made,) = Prepared(work, values, argparse.Namespace(threads=1)).arrays()
        assert made.shape == shape
        x = values[0][:1].astype(np.float64)
        if name == "average":
            want = x[0, 5, 2:4, 4:6].mean()
        else:
            d, channels = (1, slice(5, 6)) if name == "depthwise" else (2, slice(None))
            want = (x[0, channels, 1 : 2 + 2 * d : d, 2 : 3 + 2 * d : d] * values[1][5]).sum()
        assert made[0, 5, 1, 2] == pytest.approx(want, rel=1e-4, abs=1e-4)


def test_a_program_of_arrays_takes_turns():
    command = [sys.executable, "-m", "benchmarks.exprc_arrays", "--work", "call", "--threads", "1"]
    with turns.working([turns.Worker("exprc", command, {})]) as (worker,):
        assert 0 < worker.ask(seconds=0.01)["median"] < 1e-3


# -- registers


ASSEMBLY = """\
k1:
	xorl	%eax, %eax
.L2:
	vmovaps	(%rdi), %zmm0
.L3:
	vfmadd231ps	(%rsi){1to16}, %zmm0, %zmm1
	vmovaps	%zmm1, 64(%rsp)
	vfnmadd132ps	-128(%rbp), %zmm2, %zmm3
	movq	%rax, 8(%rsp)
	jne	.L3
	jb	.L2
k2_tile.constprop.0:
.L5:
	vmovups	(%rax), %ymm0
	jmp	.L5
"""


def test_innermost_loops_and_their_stack():
    assert list(spills.loops(ASSEMBLY)) == [spills.Loop("k1", 5, 2, 2), spills.Loop("k2_tile", 2, 0, 0)]
    assert spills.step_of("k2_tile") == "k2"


def test_registers_of_a_step_are_counted():
    made = spills.report(TINY, 4, 2)
    assert len(made) == 4 and "gemm" in made[2] and "multiply-adds" in made[0]


# -- the other measurements


def test_calibration_measures_something():
    found = Machine(1).measure(seconds=0.002, megabytes=1, times=1)
    assert 0.1 < found["gflops"] < 10_000 and 0.01 < found["gbytes"] < 10_000


def test_memory_of_a_step():
    found = memory.asked(nets.FC256, 4, 200, 1)
    assert 0 < found["arena"] <= found["unshared"] and found["buffers"] >= 1
    assert found["parameters"] == sum(p.nbytes for p in nets.first_parameters(nets.FC256))
    assert found["resident"][0][0] == 20 and found["resident"][-1][0] == 200
    assert found["resident"][-1][1] > found["parameters"]


def test_memory_needs_the_words_of_the_plan():
    text = "arena: 10 bytes, 2 buffers\n\nwithout sharing it would be 12 bytes"
    assert memory.planned(text) == {"arena": 10, "buffers": 2, "unshared": 12}
    with pytest.raises(ValueError, match="no memory stage"):
        memory.planned("nothing")


# -- the tables


def rounds(*milliseconds: float) -> list[dict[str, float]]:
    return [{"median": ms / 1e3, "mean": ms / 1e3, "best": ms / 1e3, "steps": 9} for ms in milliseconds]


def program(*milliseconds: float, goal: float | None = None) -> dict:
    return {"settings": {"version": "1"}, "environment": {}, "goal": goal, "rounds": rounds(*milliseconds)}


def a_case() -> dict:
    return {
        "work": "train",
        "net": "lenet",
        "title": "LeNet",
        "batch": 128,
        "flops": 1_000_000_000,
        "programs": {
            "exprc": program(10, 20, 12),
            "PyTorch eager": program(20, 30, 24, goal=1.5),
            "JAX jit": program(8, 18, 9, goal=1),
        },
        "checks": {
            "PyTorch eager": {"loss": 1e-7, "parameters": 2e-8, "agrees": True},
            "JAX jit": {"loss": 1e-2, "parameters": 0.5, "agrees": False},
        },
    }


def a_start(total: float) -> dict:
    times = {"function": 2.0, "call": 0.25, "total": total, "compiler": 1.5, "compiler_processor": 2.5, "warm": 0.1}
    return {**times, "lines": 6000, "units": 4, "found": True}


@pytest.fixture
def results():
    sizes = {"arena": 2**20, "unshared": 2**21, "parameters": 2**19, "buffers": 7}
    return {
        "machine": {"date": "2026-01-01 00:00", "processor": "a fast one", "environment removed": ["OMP_NUM_THREADS"]},
        "settings": cpu.QUICK._asdict(),
        "tolerance": cpu.TOLERANCE,
        "checked": 4,
        "cases": [a_case()],
        "calibration": {"before": {"gflops": 160.0, "gbytes": 20.0}, "after": {"gflops": 240.0, "gbytes": 21.0}},
        "cold": [{"net": "lenet", "batch": 128, "starts": [a_start(2.25), a_start(3.5), a_start(2.5)]}],
        "memory": [{"net": "lenet", "batch": 128, **sizes, "resident": [[100, 2**26], [10_000, 2**26 + 4096]]}],
    }


def cells(text: str, *begin: str) -> list[str]:
    found = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return next(row for row in found if row[: len(begin)] == list(begin))


def test_the_table_of_steps(results):
    text = table.markdown(results)
    # 1 GFLOP in 12 ms is 83.3 GFLOP/s, of a peak of (160 + 240) / 2
    ours = cells(text, "train lenet, 128", "exprc")
    assert ours == ["train lenet, 128", "exprc", "12.000", "10.000-20.000", "10,667", "83.3", "42%", "", "", ""]
    assert cells(text, "train lenet, 128", "PyTorch eager")[7:] == ["2.00x", "1.50-2.00", "1.5x met"]
    assert cells(text, "train lenet, 128", "JAX jit")[7:] == ["0.80x", "0.75-0.90", "1x MISSED"]


def test_networks_unlike_the_table_are_compared_with_its_share(results):
    other = {**a_case(), "net": "other1", "title": "another", "flops": 600_000_000}
    text = table.markdown({**results, "cases": [a_case(), other]})
    row = cells(text.split("## Networks unlike")[1], "another", "128")
    assert row == ["another", "128", "12.000", "50.0", "25%", "60%", "2.00x", "80% MISSED"]
    assert "train other1" not in text.split("## Networks unlike")[0]


def test_work_on_arrays_has_a_table_and_a_place_under_the_roof(results):
    work = {**a_case(), "work": "arrays", "net": "chain", "title": "a <chain>", "bytes": 12_000_000, "products": False}
    case = {**a_case(), "bytes": 10_000_000}
    text = table.markdown({**results, "cases": [case, work]})
    assert cells(text, "a <chain>", "exprc") == ["a <chain>", "exprc", "12.000", "10.000-20.000", "83.3", "", "", "", ""]
    assert cells(text, "a <chain>", "PyTorch eager")[6:] == ["2.00x", "1.50-2.00", "1.5x met"]
    svg = roofline.picture({**results, "machine": {**results["machine"], "threads": 2}, "cases": [case, work]})
    assert svg.count("<circle") == 2 and "a &lt;chain&gt;: 83" in svg and "FMA peak 200" in svg
    assert xml.etree.ElementTree.fromstring(svg).tag.endswith("svg") and "href" not in svg


def test_the_header_warns_of_a_machine_that_was_not_quiet(results):
    text = table.markdown(results)
    assert "FMA peak, 160.0 GFLOP/s before, 240.0 after  **the machine was not quiet: measure again**" in text
    assert "memory (triad), 20.0 GB/s before, 21.0 after\n" in text
    assert "environment removed: OMP_NUM_THREADS" in text and "* **JAX jit**: version: 1" in text


def test_the_other_tables(results):
    text = table.markdown(results)
    checks = text.split("## The same numbers")[1]
    assert cells(checks, "train lenet, 128", "PyTorch eager") == ["train lenet, 128", "PyTorch eager", "1.0e-07", "2.0e-08", "yes"]
    assert cells(checks, "train lenet, 128", "JAX jit")[-1] == "NO"
    assert "allowed: 1e-05 and 5e-05" in checks
    cold = cells(text.split("## Cold start")[1], "lenet, 128")
    assert cold == ["lenet, 128", "4", "6,000", "2.00", "0.25", "2.50", "2.25-3.50", "1.50", "2.50", "0.10", "1.2 s MISSED"]
    memory_row = cells(text.split("## Memory")[1], "lenet, 128")
    assert memory_row == ["lenet, 128", "7", "1.00", "2.00", "0.50", "64.0", "100 to 10000", "4"]


def test_a_warm_start_that_compiled_again_is_told(results):
    results["cold"][0]["starts"][1]["found"] = False
    assert cells(table.markdown(results).split("## Cold start")[1], "lenet, 128")[9] == "NOT FOUND"


def test_without_an_interpreter_for_the_peers_the_command_says_what_to_give(monkeypatch, capsys):
    monkeypatch.delenv("EXPRC_PEERS_PYTHON", raising=False)
    with pytest.raises(SystemExit):
        cpu.main([])
    assert "give --peers-python or EXPRC_PEERS_PYTHON (benchmarks/README.md), or --no-peers" in " ".join(capsys.readouterr().err.split())


def test_peers_are_not_imported_by_our_side():
    for name in ("arrays", "exprc_arrays", "nets", "roofline", "turns", "cpu", "table"):
        text = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        assert "import torch" not in text and "import jax" not in text


# -- the work on graphs


def test_graph_work_counts_nodes_and_names_its_stages():
    made = graph.graph_work(600)
    assert abs(made["nodes"] - 600) < 60
    stages = ("build", "grad", "open", "simplify", "stabilise", "expand", "optimise")
    assert made["microseconds per node"] == pytest.approx(sum(made[name] for name in stages))


def test_a_residual_network_has_the_layers_of_the_paper():
    net = graph.resnet(8, (3, 16, 16))
    weights = graph.L.get_all_params(net, regularizable=True)
    assert graph.L.get_output_shape(net) == (None, 10)
    assert sum(p.ndim == 4 for p in weights) == 7 + 2  # and the two projections
    with pytest.raises(ValueError, match=r"6 n \+ 2 layers, not 9"):
        graph.resnet(9)


def test_importing_is_timed_in_fresh_processes():
    made = graph.importing(1)
    assert 0 < made["import numpy"] < 60_000 > made["import exprc"] > 0


@pytest.mark.long
def test_a_chain_of_100_000_nodes_needs_no_deep_recursion():
    assert set(graph.deep_chain(100_000)) == {"build", "grad", "run", "pickle", "unpickle"}


# -- on a GPU


def test_what_was_measured_on_a_gpu_is_not_measured_again(monkeypatch, tmp_path, capsys):
    def quick(name: str) -> gpu_check.Check:
        text = f"open('{tmp_path / name}', 'a').write('x'); print('= train a 1: exprc, us 2')"
        return gpu_check.Check(name, (sys.executable, "-c", text), 60)

    monkeypatch.setattr(gpu_check, "_missing", lambda device: "")
    monkeypatch.setattr(gpu, "PARTS", {1: [quick("one"), quick("two")], 2: []})
    assert gpu.main(["--report", str(tmp_path / "report"), "--only", "one"]) == 0
    assert gpu.main(["--report", str(tmp_path / "report")]) == 0
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text() == "x"
    assert "| train a 1 |" in (tmp_path / "report" / "gpu.md").read_text()


def test_the_table_of_a_gpu_names_the_best_peer_that_computes_the_same():
    numbers = {"exprc, us": 100, "PyTorch graph / exprc": 1.5, "JAX jit / exprc": 1.25, "PyTorch graph TF32 / exprc": 0.5, "launches": 9}
    text = gpu.tables({f"train lenet 128: {name}": value for name, value in numbers.items()} | {"gemm 1000, TFLOP/s": 28.04})
    assert "| train lenet 128 | 9 |" in text and text.splitlines()[4].endswith("| 1.25 |") and "| gemm 1000, TFLOP/s | 28.04 |" in text


def test_floors_of_a_step():
    parameters = sum(p.size for p in nets.first_parameters(nets.LENET))
    results = 20 * 12 * 12 + 50 * 4 * 4 + 256 + 10
    assert nets.step_bytes(nets.LENET, 2, "infer") == 4 * (2 * 784 + 2 * 2 * results + parameters)
    assert nets.step_bytes(nets.LENET, 2) == 4 * (2 * 2 * 784 + 5 * 2 * results + 5 * parameters)


def test_the_launches_of_a_step_are_told_without_a_gpu(monkeypatch):
    monkeypatch.setattr(gpu_resources, "compiled", lambda text, architecture: defaultdict(lambda: (64, 0)))
    rows = gpu_resources.step_rows("fc64", 128, ["sm_90"])
    operations = sum(float(row.split(" | ")[2]) for row in rows)
    assert 5 < len(rows) <= 12 and operations == pytest.approx(nets.step_flops(nets.FC64, 128) / 1e6, rel=0.02)


@pytest.mark.parametrize(
    ("net", "batch", "most"),
    [("lenet", 128, 12), ("lenet", 500, 12), ("lenet", 1, 14), ("lenet_norm", 128, 28), ("fc64", 128, 9), ("fc256", 128, 9)],
)
def test_a_training_step_takes_few_launches(net, batch, most):
    """What a program for a GPU of this many multiprocessors launches; what decides is in `exprc.gpu.together`."""
    made = gpu_resources.loaded(lambda: training_step(nets.NETS[net], batch).compile("step"))
    assert len(made.lowered.launched()) <= most
