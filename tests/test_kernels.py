"""The kernel texts of kernels/c, each compiled alone and compared with NumPy or naive loops."""

from __future__ import annotations

import ctypes
import itertools
import math
import pathlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from exprc import philox
from exprc.errors import CompileError
from exprc.runtime.compiler import find_compiler, flags
from exprc.runtime.cpu import host_vectors

FOLDER = pathlib.Path(__file__).parent.parent / "kernels" / "c"
WARNINGS = "-Wall -Wextra -Werror -Wno-unused-parameter -Wno-pass-failed -Wno-unknown-warning-option -Wno-psabi"
DTYPES = {"float": np.float32, "double": np.float64}


def found() -> tuple[str, ...]:
    try:
        return find_compiler().command
    except CompileError:
        return ()


COMPILER = found()
pytestmark = pytest.mark.skipif(not COMPILER, reason="no C compiler (EXPRC_CC, CC, cc, gcc, clang) to compile the kernels with")

Array = np.ndarray[Any, Any]
Sizes = Mapping[str, int]


def compile_text(text: str, folder: pathlib.Path, name: str) -> ctypes.CDLL:
    source, target = folder / f"{name}.c", folder / f"{name}.so"
    source.write_text(text)
    told = [*flags(host_vectors()), *WARNINGS.split(), "-shared", "-fvisibility=default"]
    command = [*COMPILER, *told, str(source), "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(target))


def argument(value: Any) -> ctypes.c_void_p | ctypes.c_int64:
    return ctypes.c_int64(value) if isinstance(value, int) else ctypes.c_void_p(value.ctypes.data)


class Instance:
    """One paste of a template: its buffers, which sizes are constants, its hooks."""

    def __init__(self, kernel: str, template: str, ctype: str, lanes: int, buffers: Sequence[str], sizes: Sequence[str],
                 hooks: Mapping[str, str], constants: Mapping[str, int]) -> None:
        self.kernel, self.template, self.sizes = kernel, template, [s for s in sizes if s not in constants]
        registers = 32 if lanes * (4 if ctype == "float" else 8) == 64 else 16
        self.macros: dict[str, object] = {"KERNEL": kernel, "T": ctype, "LANES": lanes, "REGISTERS": registers}
        self.macros |= {name: constants.get(name, name) for name in [*sizes, *constants]} | dict(hooks)
        self.params = ", ".join([*buffers, *(f"int64_t {s}" for s in self.sizes)])
        self.names = ", ".join([*(b.split()[-1].strip("*") for b in buffers), *self.sizes])

    def text(self) -> str:
        """The macros, the template, their end, and two functions that ctypes can call."""
        defined = "".join(f"#define {name} {value}\n" for name, value in (self.macros | {"PARAMS": self.params}).items())
        ended = "".join(f"#undef {name.split('(')[0]}\n" for name in [*self.macros, "PARAMS"])
        body = "".join((FOLDER / f"{name}.h").read_text() for name in self.template.split())
        calls = (f"int64_t {self.kernel}_count({self.params}) {{ return {self.kernel}_blocks({self.names}); }}\n"
                 f"void {self.kernel}_range({self.params}, int64_t begin, int64_t end) {{ {self.kernel}({self.names}, begin, end); }}\n")
        return defined.replace("T *", f"{self.macros['T']} *") + body + ended + calls.replace("T *", f"{self.macros['T']} *")

    def run(self, library: ctypes.CDLL, arrays: Sequence[Array], sizes: Sizes, outputs: Sequence[int]) -> int:
        """All blocks at once, then in three ranges in reverse: the bits must agree. Returns the number of blocks."""
        args = [*map(argument, arrays), *(argument(int(sizes[s])) for s in self.sizes)]
        counted = getattr(library, f"{self.kernel}_count")
        counted.restype = ctypes.c_int64
        blocks, start = int(counted(*args)), [arrays[i].copy() for i in outputs]
        results = []
        for ranges in (1, 3):
            for i, before in zip(outputs, start, strict=True):
                arrays[i][...] = before
            cuts = [blocks * i // ranges for i in range(ranges + 1)]
            for begin, end in reversed(list(itertools.pairwise(cuts))):
                getattr(library, f"{self.kernel}_range")(*args, ctypes.c_int64(begin), ctypes.c_int64(end))
            results.append([arrays[i].copy() for i in outputs])
        for one, three in zip(*results, strict=True):
            np.testing.assert_array_equal(one, three)
        return blocks


def library_of(instances: Sequence[Instance], folder: pathlib.Path, extra: str = "") -> ctypes.CDLL:
    text = "#include <stdint.h>\n" + extra + "".join(i.text() for i in instances)
    return compile_text(text, folder, instances[0].template)


def both_types(template: str, lanes: int, make: Callable[[str, str, int], Instance]) -> list[Instance]:
    """A float and a double instance of the same vector width, to be pasted in one text."""
    return [make(f"{template}_{ctype}", ctype, lanes if ctype == "float" else lanes // 2) for ctype in DTYPES]


def normal(seed: int, dtype: Any, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_close(got: Array, want: Array, dtype: Any, terms: int) -> None:
    """Within the rounding of a sum of `terms` products of numbers around one."""
    allowed = np.finfo(dtype).eps * (4 * terms + 32)
    assert got.shape == want.shape
    assert got.size == 0 or np.abs(got - want).max() <= allowed, np.abs(got - want).max()


# ------------------------------------------------------------------------------------------------ gemm

GEMM_SHAPES = [(1, 1, 1), (5, 7, 0), (64, 10, 33), (13, 1, 40), (29, 33, 17), (3, 70, 5), (500, 40, 1100), (31, 130, 200),
               (40, 9, 3), (1, 300, 90), (4, 4, 4), (2, 256, 5),  # the second of a pair has b as it is: few rows, in long runs
               (520, 40, 1024), (30, 45, 2100)]


def gemm_instance(kernel: str, ctype: str, lanes: int, a_transposed: bool, b_transposed: bool, constants: Sizes) -> Instance:
    a = "((g) * K + (k)) * M + (i)" if a_transposed else "((g) * M + (i)) * K + (k)"
    b = "((g) * N + (j)) * K + (k)" if b_transposed else "((g) * K + (k)) * N + (j)"
    hooks = {"LOAD_a(g, i, k)": f"a[{a}]", "LOAD_b(g, k, j)": f"b[{b}]", "PTR_b(g, k, j)": f"(b + {b})",
             "STORE_y(g, i, j, x)": "do { T bias = c[j]; y[((g) * M + (i)) * N + (j)] = (x) + bias; } while (0)",
             "A_COLS_CONTIGUOUS": str(int(a_transposed)), "B_COLS_CONTIGUOUS": str(int(b_transposed)),
             "B_ROWS_CONTIGUOUS": str(int(not b_transposed))}
    buffers = ["const T *restrict a", "const T *restrict b", "const T *restrict c", "T *restrict y"]
    return Instance(kernel, "gemm", ctype, lanes, buffers, ["M", "N", "K", "BATCH"], hooks, constants)


def check_gemm(instance: Instance, library: ctypes.CDLL, sizes: Sizes, a_transposed: bool, b_transposed: bool) -> None:
    m, n, k, batch = (sizes[s] for s in ("M", "N", "K", "BATCH"))
    dtype = DTYPES[str(instance.macros["T"])]
    a, b, c = normal(1, dtype, batch, m, k), normal(2, dtype, batch, k, n), normal(3, dtype, n)
    y = np.full((batch, m, n), np.nan, dtype)
    stored = [np.ascontiguousarray(v.swapaxes(1, 2)) if t else v for v, t in ((a, a_transposed), (b, b_transposed))]
    instance.run(library, [*stored, c, y], sizes, [3])
    assert_close(y, a.astype(float) @ b.astype(float) + c, dtype, k)


@pytest.mark.parametrize("lanes", [16, 8, 4])
@pytest.mark.parametrize(("a_transposed", "b_transposed"), [(False, False), (True, True)])
def test_gemm_of_sizes_given_at_run_time(lanes: int, a_transposed: bool, b_transposed: bool, tmp_path: pathlib.Path) -> None:
    instances = both_types("gemm", lanes, lambda kernel, ctype, n: gemm_instance(kernel, ctype, n, a_transposed, b_transposed, {}))
    library = library_of(instances, tmp_path)
    for instance, (m, n, k) in itertools.product(instances, GEMM_SHAPES):
        check_gemm(instance, library, {"M": m, "N": n, "K": k, "BATCH": 2}, a_transposed, b_transposed)


@pytest.mark.parametrize("number", range(0, len(GEMM_SHAPES), 2))
def test_gemm_of_constant_sizes(number: int, tmp_path: pathlib.Path) -> None:
    shapes = [dict(zip("MNK", shape, strict=True), BATCH=1) for shape in GEMM_SHAPES[number:number + 2]]
    instances = [gemm_instance(f"gemm_{i}", "float", 16, i % 2 == 1, i % 2 == 0, s) for i, s in enumerate(shapes)]
    library = library_of(instances, tmp_path)
    for i, (instance, sizes) in enumerate(zip(instances, shapes, strict=True)):
        check_gemm(instance, library, sizes, i % 2 == 1, i % 2 == 0)


@pytest.mark.parametrize("k", [1024, 1100])
def test_gemm_with_a_large_left_side(k: int, tmp_path: pathlib.Path) -> None:
    """Tiles of the left side are copied where its rows lie a multiple of 4,096 bytes apart."""
    sizes = {"M": 700, "N": 150, "K": k, "BATCH": 1}
    instance = gemm_instance("gemm_large", "float", 16, False, False, sizes)
    check_gemm(instance, library_of([instance], tmp_path), sizes, False, False)


# ------------------------------------------------------------------------------------------------ convolution

GEOMETRY = ["CIN", "H", "W", "O", "KH", "KW", "P", "Q", "SH", "SW", "PH", "PW", "DH", "DW", "UP_H", "UP_W", "GROUPS"]


def random_geometry(rng: np.random.Generator, spread: bool) -> dict[str, int]:
    def draw(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    s = {name: draw(1, 2) for name in ("SH", "SW", "DH", "DW", "GROUPS")}
    s |= {"KH": draw(1, 4), "KW": draw(1, 7), "PH": draw(0, 3), "PW": draw(0, 3)}
    s |= {"CIN": s["GROUPS"] * draw(1, 3), "O": s["GROUPS"] * draw(1, 13)}
    s |= {"UP_H": draw(1, 3) if spread else 1, "UP_W": draw(1, 3) if spread else 1}
    for size, kernel, out, axis in (("H", "KH", "P", "H"), ("W", "KW", "Q", "W")):
        reach = (s[kernel] - 1) * s["D" + axis]
        s[size] = draw(1, 11) + reach
        s[out] = max(1, (s[size] * s["UP_" + axis] + 2 * s["P" + axis] - reach - 1) // s["S" + axis] + 1)
    return s


def taps(s: Sizes) -> list[tuple[int, int, int, int, int, int]]:
    """(p, q, u, v, h, w) of every product that a convolution forms."""
    found = []
    for p, q, u, v in itertools.product(*(range(s[n]) for n in ("P", "Q", "KH", "KW"))):
        h, off_h = divmod(p * s["SH"] + u * s["DH"] - s["PH"], s["UP_H"])
        w, off_w = divmod(q * s["SW"] + v * s["DW"] - s["PW"], s["UP_W"])
        if not off_h and not off_w and 0 <= h < s["H"] and 0 <= w < s["W"]:
            found.append((p, q, u, v, h, w))
    return found


def naive_conv(x: Array, w: Array, s: Sizes) -> Array:
    y = np.zeros((x.shape[0], s["O"], s["P"], s["Q"]))
    out, into = s["O"] // s["GROUPS"], s["CIN"] // s["GROUPS"]
    for (p, q, u, v, h, w_), g in itertools.product(taps(s), range(s["GROUPS"])):
        o, c = slice(g * out, (g + 1) * out), slice(g * into, (g + 1) * into)
        y[:, o, p, q] += x[:, c, h, w_].astype(float) @ w[o, :, u, v].astype(float).T
    return y


def naive_grad_weight(x: Array, gy: Array, s: Sizes) -> Array:
    out, into = s["O"] // s["GROUPS"], s["CIN"] // s["GROUPS"]
    dw = np.zeros((s["O"], into, s["KH"], s["KW"]))
    for (p, q, u, v, h, w_), g in itertools.product(taps(s), range(s["GROUPS"])):
        o, c = slice(g * out, (g + 1) * out), slice(g * into, (g + 1) * into)
        dw[o, :, u, v] += gy[:, o, p, q].astype(float).T @ x[:, c, h, w_].astype(float)
    return dw


def to_lanes(x: Array, lanes: int) -> Array:
    """(n, c, h, w) to (ceil(n / lanes), c, h, w, lanes), the lanes that are left over zero."""
    blocks = -(-x.shape[0] // lanes)
    padded = np.zeros((blocks * lanes, *x.shape[1:]), x.dtype)
    padded[:x.shape[0]] = x
    return np.ascontiguousarray(np.moveaxis(padded.reshape(blocks, lanes, *x.shape[1:]), 1, -1))


def from_lanes(y: Array, images: int) -> Array:
    return np.moveaxis(y, -1, 1).reshape(-1, *y.shape[1:-1])[:images]


INNER = "(((((b) * {c} + ({k})) * {h} + ({i})) * {w} + ({j})) * LANES)"
PLAIN = "((((b) * {c} + ({k})) * {h} + ({i})) * {w} + ({j}))"
WEIGHT = "((((o) * (CIN / GROUPS) + (c)) * KH + (u)) * KW + (v))"
X_AT = {"c": "CIN", "k": "c", "h": "H", "i": "h", "w": "W", "j": "w_"}
Y_AT = {"c": "O", "k": "o", "h": "P", "i": "p", "w": "Q", "j": "q"}


def in_rows(template: str) -> bool:
    """Whether a text takes images in the plain layout."""
    return "plain" in template or "rows" in template


def conv_instance(template: str, kernel: str, ctype: str, lanes: int, constants: Sizes) -> Instance:
    plain, gradient = in_rows(template), "grad" in template
    at = PLAIN if plain else INNER
    hooks = {"LOAD_x(b, c, h, w_)" if plain else "PTR_x(b, c, h, w_)": f"{'*' if plain else ''}(x + {at.format(**X_AT)})"}
    if gradient:
        hooks["LOAD_g(b, o, p, q)" if plain else "PTR_g(b, o, p, q)"] = f"{'*' if plain else ''}(w + {at.format(**Y_AT)})"
        hooks["STORE_y(r, o, c, u, v, value)"] = f"y[(r) * O * (CIN / GROUPS) * KH * KW + {WEIGHT}] = (value)"
    else:
        hooks["LOAD_w(o, c, u, v)"] = f"w[{WEIGHT}]"
        lane, at_lane = ("", "") if plain else (", l", " + (l)")
        hooks[f"STORE_y(b, o, p, q{lane}, value)"] = f"y[{at.format(**Y_AT)}{at_lane}] = (value)"
    sizes = ["N" if plain else "NB", *GEOMETRY, *(["PARTS"] if gradient else [])]
    buffers = ["const T *restrict x", "const T *restrict w", "T *restrict y"]
    return Instance(kernel, template, ctype, lanes, buffers, sizes, hooks, constants)


def check_conv(instance: Instance, library: ctypes.CDLL, s: Sizes, images: int) -> None:
    plain, gradient = in_rows(instance.template), "grad" in instance.template
    dtype, lanes = DTYPES[str(instance.macros["T"])], int(str(instance.macros["LANES"]))
    layout = (lambda v: v) if plain else (lambda v: to_lanes(v, lanes))
    x = normal(1, dtype, images, s["CIN"], s["H"], s["W"])
    weight = (s["O"], s["CIN"] // s["GROUPS"], s["KH"], s["KW"])
    other = normal(2, dtype, *((images, s["O"], s["P"], s["Q"]) if gradient else weight))
    want = naive_grad_weight(x, other, s) if gradient else naive_conv(x, other, s)
    y = np.full((s["PARTS"], *weight) if gradient else layout(np.zeros(want.shape)).shape, np.nan, dtype)
    sizes = {**s, "N": images, "NB": -(-images // lanes)}
    instance.run(library, [layout(x), layout(other) if gradient else other, y], sizes, [2])
    got = y.sum(axis=0) if gradient else y if plain else from_lanes(y, images)
    assert_close(got, want, dtype, images * s["P"] * s["Q"] if gradient else weight[1] * s["KH"] * s["KW"])


@pytest.mark.parametrize(("template", "lanes"), [
    *itertools.product(["conv2d", "conv2d_grad_weight"], [16, 8, 4]), ("conv2d_plain", 16), ("conv2d_plain_grad_weight", 16)])
def test_convolutions_of_random_geometry(template: str, lanes: int, tmp_path: pathlib.Path) -> None:
    instances = both_types(template, lanes, lambda kernel, ctype, n: conv_instance(template, kernel, ctype, n, {}))
    library = library_of(instances, tmp_path)
    rng = np.random.default_rng(lanes)
    for number, instance in itertools.product(range(4), instances):
        s = random_geometry(rng, spread=number % 2 == 1 and "grad" not in template)
        check_conv(instance, library, {**s, "PARTS": int(rng.integers(1, 4))}, int(rng.integers(1, 20)))


@pytest.mark.parametrize("lanes", [16, 8, 2])
def test_convolutions_along_rows(lanes: int, tmp_path: pathlib.Path) -> None:
    """Filters and strides are constants; sizes, padding and channels are not. Narrow images, halved vectors, tiles that overlap."""
    shapes = ((3, 3, 1, 1, 1, 1), (2, 4, 1, 1, 3, 2), (3, 1, 2, 1, 1, 1), (1, 5, 1, 1, 1, 1), (3, 4, 2, 2, 1, 1), (2, 3, 1, 2, 2, 3))
    filters = [dict(zip(("KH", "KW", "SH", "SW", "DH", "DW"), f, strict=True)) for f in shapes]
    made = [(f, conv_instance("conv2d_rows", f"rows{k}_{ctype}", ctype, lanes if ctype == "float" else lanes // 2,
                              {**f, "HALVES": int(k % 2 and lanes > 2)}))
            for k, f in enumerate(filters) for ctype in DTYPES]  # fmt: skip
    library = library_of([instance for _, instance in made], tmp_path)
    rng = np.random.default_rng(lanes)
    for number, (f, instance) in itertools.product(range(3), made):
        s = {**random_geometry(rng, spread=False), **f}
        _give_images(s, rng, 300 if number == 2 else 0)
        check_conv(instance, library, s, int(rng.integers(1, 4)))


def _give_images(s: Sizes, rng: np.random.Generator, wider: int) -> None:
    """Sizes of images that filters fit in, and of what comes out."""
    for size, kernel, out, axis in (("H", "KH", "P", "H"), ("W", "KW", "Q", "W")):
        reach = (s[kernel] - 1) * s["D" + axis]
        s[size] = int(rng.integers(1, 11)) + reach + (wider if size == "W" else 0)
        s[out] = (s[size] + 2 * s["P" + axis] - reach - 1) // s["S" + axis] + 1


@pytest.mark.parametrize("seed", range(4))
def test_convolutions_along_rows_of_constant_geometry(seed: int, tmp_path: pathlib.Path) -> None:
    """The height of a tile follows from the rows where these are known."""
    rng = np.random.default_rng(seed)
    s = {**random_geometry(rng, spread=False), "KH": 3, "KW": 3, "SH": 1 + seed % 2, "SW": 1 + seed // 2, "DH": 1, "DW": 1, "HALVES": 0}
    _give_images(s, rng, 12)
    instances = both_types("conv2d_rows", 16, lambda kernel, ctype, n: conv_instance("conv2d_rows", kernel, ctype, n, {**s, "N": 2}))
    library = library_of(instances, tmp_path)
    for instance in instances:
        check_conv(instance, library, s, 2)


@pytest.mark.parametrize("template", ["conv2d", "conv2d_grad_weight"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_convolutions_of_constant_geometry(template: str, seed: int, tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(seed)
    s = {**random_geometry(rng, spread=seed == 1 and template == "conv2d"), "PARTS": 2}
    instances = both_types(template, 16, lambda kernel, ctype, n: conv_instance(template, kernel, ctype, n, {**s, "NB": -(-19 // n)}))
    library = library_of(instances, tmp_path)
    for instance in instances:
        check_conv(instance, library, s, 19)


@pytest.mark.parametrize(("geometry"), [
    {"CIN": 20, "H": 12, "W": 12, "O": 50, "KH": 5, "KW": 5, "P": 8, "Q": 8, "PH": 0, "PW": 0},       # LeNet's second
    {"CIN": 50, "H": 8, "W": 8, "O": 20, "KH": 5, "KW": 5, "P": 12, "Q": 12, "PH": 4, "PW": 4},       # its input gradient
    {"CIN": 8, "H": 9, "W": 14, "O": 13, "KH": 3, "KW": 3, "P": 9, "Q": 14, "PH": 1, "PW": 1},
    {"CIN": 5, "H": 24, "W": 25, "O": 9, "KH": 3, "KW": 3, "P": 22, "Q": 23, "PH": 0, "PW": 0},       # several pieces of an image
    {"CIN": 24, "H": 20, "W": 12, "O": 48, "KH": 15, "KW": 7, "P": 6, "Q": 6, "PH": 0, "PW": 0},      # more weights than wait at a time
])
def test_convolutions_of_networks(geometry: dict[str, int], tmp_path: pathlib.Path) -> None:
    s = {name: 1 for name in (*GEOMETRY, "PARTS")} | geometry
    for template in ("conv2d", "conv2d_grad_weight"):
        instance = conv_instance(template, template, "float", 16, {**s, "NB": 1})
        check_conv(instance, library_of([instance], tmp_path), s, 16)


WINOGRAD = {
    "PTR_x(b, c, h, w_)": f"(x + {INNER.format(**X_AT)})", "LOAD_w(o, c, u, v)": "w[(((o) * CIN + (c)) * SIZE + (u)) * SIZE + (v)]",
    "PTR_u(k, t, c)": "(transformed + (((k) * ((O + PANEL - 1) / PANEL) + (t)) * CIN + (c)) * PANEL)",
    "STORE_y(b, o, p, q, l, value)": f"y[{INNER.format(**Y_AT)} + (l)] = (value)",
}
FILTERS = {
    "LOAD_w(o, c, u, v)": WINOGRAD["LOAD_w(o, c, u, v)"],
    "STORE_u(k, t, c, r, value)": "transformed[(((k) * ((O + PANEL - 1) / PANEL) + (t)) * CIN + (c)) * PANEL + (r)] = (value)",
}


def winograd_instances(ctype: str, lanes: int, tile: int, constants: Sizes, size: int = 3) -> list[Instance]:
    """The transform of the filters, and the convolution with them."""
    sizes, fixed = ["NB", "CIN", "H", "W", "O", "P", "Q", "PH", "PW", "DH", "DW"], {**constants, "TILE": tile, "SIZE": size, "PANEL": 8}
    buffers = ["const T *restrict w", "T *restrict transformed"]
    first = Instance(f"filters_{ctype}{tile}_{size}", "winograd_filters", ctype, lanes, buffers, ["CIN", "O"], FILTERS, fixed)
    buffers = ["const T *restrict x", "const T *restrict w", "const T *restrict transformed", "T *restrict y"]
    texts = "winograd_tile conv2d_winograd"
    return [first, Instance(f"winograd_{ctype}{tile}_{size}", texts, ctype, lanes, buffers, sizes, WINOGRAD, fixed)]


SUMS = {
    "PTR_x(b, c, h, w_)": WINOGRAD["PTR_x(b, c, h, w_)"], "PTR_g(b, o, p, q)": f"(g + {INNER.format(**Y_AT)})",
    "PTR_m(r, k, c, o)": "(m + (((r) * (TILE + 2) * (TILE + 2) + (k)) * (CPAD) + (c)) * (OPAD) + (o))",
}
WEIGHTS = {
    **{hook: text for hook, text in SUMS.items() if "PTR_m" not in hook},
    "LOAD_m(r, k, c, o)": "m[(((r) * (TILE + 2) * (TILE + 2) + (k)) * (CPAD) + (c)) * (OPAD) + (o)]",
    "STORE_y(o, c, u, v, value)": "y[(((o) * CIN + (c)) * 3 + (u)) * 3 + (v)] = (value)",
}


def winograd_gradient(ctype: str, lanes: int, tile: int, constants: Sizes) -> list[Instance]:
    """The sums, and the gradient for the filters from them."""
    sizes = ["NB", "CIN", "H", "W", "O", "P", "Q", "PH", "PW", "CPAD", "OPAD", "PARTS"]
    fixed, buffers = {**constants, "TILE": tile, "SIZE": 3}, ["const T *restrict x", "const T *restrict g"]
    texts = "winograd_tile conv2d_winograd_grad_weight"
    first = Instance(f"sums_{ctype}{tile}", texts, ctype, lanes, [*buffers, "T *restrict m"], sizes, SUMS, fixed)
    buffers = [*buffers, "const T *restrict m", "T *restrict y"]
    return [first, Instance(f"weights_{ctype}{tile}", "winograd_weights", ctype, lanes, buffers, sizes, WEIGHTS, fixed)]


def check_winograd_gradient(instances: Sequence[Instance], library: ctypes.CDLL, s: Sizes, images: int, tile: int) -> None:
    first, second = instances
    dtype, lanes = DTYPES[str(second.macros["T"])], int(str(second.macros["LANES"]))
    x, g = normal(1, dtype, images, s["CIN"], s["H"], s["W"]), normal(2, dtype, images, s["O"], s["P"], s["Q"])
    sizes = {**s, "NB": -(-images // lanes), "CPAD": -(-s["CIN"] // 8) * 8, "OPAD": -(-s["O"] // lanes) * lanes, "PARTS": 3}
    m = np.full((3, (tile + 2) ** 2, sizes["CPAD"], sizes["OPAD"]), np.nan, dtype)
    y = np.full((s["O"], s["CIN"], 3, 3), np.nan, dtype)
    x_in, g_in = to_lanes(x, lanes), to_lanes(g, lanes)
    first.run(library, [x_in, g_in, m], sizes, [2])
    second.run(library, [x_in, g_in, m, y], sizes, [3])
    assert_close(y, naive_grad_weight(x, g, s), dtype, images * s["P"] * s["Q"] * (1 if tile == 2 else 16))


def check_winograd(instances: Sequence[Instance], library: ctypes.CDLL, s: Sizes, images: int, tile: int) -> None:
    first, second = instances
    dtype, lanes = DTYPES[str(second.macros["T"])], int(str(second.macros["LANES"]))
    size = s["KH"]
    x, w = normal(1, dtype, images, s["CIN"], s["H"], s["W"]), normal(2, dtype, s["O"], s["CIN"], size, size)
    u = np.full(((tile + size - 1) ** 2, -(-s["O"] // 8), s["CIN"], 8), np.nan, dtype)
    first.run(library, [w, u], s, [1])
    y = np.full(to_lanes(np.zeros((images, s["O"], s["P"], s["Q"])), lanes).shape, np.nan, dtype)
    second.run(library, [to_lanes(x, lanes), w, u, y], {**s, "NB": -(-images // lanes)}, [3])
    assert_close(from_lanes(y, images), naive_conv(x, w, s), dtype, s["CIN"] * size**2 * (1 if tile + size == 5 else 16))


@pytest.mark.parametrize("lanes", [16, 8, 4])
def test_winograd_of_sizes_given_at_run_time(lanes: int, tmp_path: pathlib.Path) -> None:
    made = {(ctype, tile): winograd_instances(ctype, lanes if ctype == "float" else lanes // 2, tile, {})
            for ctype in DTYPES for tile in (2, 4)}  # fmt: skip
    gradients = {(ctype, tile): winograd_gradient(ctype, lanes if ctype == "float" else lanes // 2, tile, {}) for ctype, tile in made}
    library = library_of([i for pairs in (made, gradients) for pair in pairs.values() for i in pair], tmp_path)
    rng = np.random.default_rng(lanes)
    for (ctype, tile), pair in made.items():
        for channels in (rng.integers(1, 12), 65, 131):  # all at a time, all, in two goes
            s = {name: 1 for name in GEOMETRY} | {"KH": 3, "KW": 3, "CIN": int(channels), "O": int(rng.integers(1, 40))}
            for size, out, pad in (("H", "P", "PH"), ("W", "Q", "PW")):
                s[size], s[pad] = int(rng.integers(3, 12)), int(rng.integers(0, 4))
                s[out] = s[size] + 2 * s[pad] - 2
            check_winograd(pair, library, s, int(rng.integers(1, 20)), tile)
            check_winograd_gradient(gradients[ctype, tile], library, s, int(rng.integers(1, 20)), tile)


@pytest.mark.parametrize("lanes", [16, 4])
def test_winograd_of_larger_filters(lanes: int, tmp_path: pathlib.Path) -> None:
    made = [winograd_instances(ctype, lanes if ctype == "float" else lanes // 2, 2, {}, 5) for ctype in DTYPES]
    library = library_of([i for pair in made for i in pair], tmp_path)
    rng = np.random.default_rng(lanes)
    for pair in made:
        for channels in (rng.integers(1, 12), 131):
            s = {name: 1 for name in GEOMETRY} | {"KH": 5, "KW": 5, "CIN": int(channels), "O": int(rng.integers(1, 40))}
            for length, out, pad, apart in (("H", "P", "PH", "DH"), ("W", "Q", "PW", "DW")):
                s[pad], s[apart] = int(rng.integers(0, 6)), int(rng.integers(1, 4))
                s[length] = int(rng.integers(5, 12)) + 4 * (s[apart] - 1)
                s[out] = s[length] + 2 * s[pad] - 4 * s[apart]
            check_winograd(pair, library, s, int(rng.integers(1, 20)), 2)


def test_winograd_of_constant_sizes(tmp_path: pathlib.Path) -> None:
    s = {name: 1 for name in GEOMETRY} | {"KH": 3, "KW": 3, "CIN": 40, "O": 130, "H": 5, "W": 9, "P": 5, "Q": 9}
    pair = winograd_instances("float", 16, 4, {**{n: s[n] for n in ("CIN", "O", "H", "W", "P", "Q", "PH", "PW")}, "NB": 1})
    gradient = winograd_gradient("float", 16, 4, {n: s[n] for n in ("CIN", "O", "H", "W", "P", "Q", "PH", "PW")})
    library = library_of([*pair, *gradient], tmp_path)
    check_winograd(pair, library, s, 13, 4)
    check_winograd_gradient(gradient, library, s, 13, 4)


def test_convolution_of_one_image_with_more_weights_than_a_panel_holds(tmp_path: pathlib.Path) -> None:
    geometry = {"CIN": 70, "H": 9, "W": 12, "O": 33, "KH": 3, "KW": 3, "P": 9, "Q": 12, "PH": 1, "PW": 1}
    s = {name: 1 for name in GEOMETRY} | geometry
    instance = conv_instance("conv2d_plain", "conv2d_plain", "float", 16, {**s, "N": 2})
    check_conv(instance, library_of([instance], tmp_path), s, 2)


# ------------------------------------------------------------------------------------------------ pooling

POOL_SIZES = ["NB", "C", "H", "W", "P", "Q", "KH", "KW", "SH", "SW", "PH", "PW", "DH", "DW"]
POOL_AT = "((((((b) * C + (c)) * {0} + ({1})) * {2} + ({3})) * LANE_COUNT) + (l))"


def pool_instance(template: str, kernel: str, ctype: str, lane_count: int, mode: int) -> Instance:
    image, window = POOL_AT.format("H", "h", "W", "w"), POOL_AT.format("P", "p", "Q", "q")
    if template == "pool":
        hooks = {"LOAD_x(b, c, h, w, l)": f"x[{image}]", "STORE_y(b, c, p, q, l, value)": f"y[{window}] = (value)",
                 "STORE_code(b, c, p, q, l, value)": f"code[{window}] = (uint8_t)(value)"}
        buffers = ["const T *restrict x", "uint8_t *restrict code", "T *restrict y"]
    else:
        hooks = {"LOAD_g(b, c, p, q, l)": f"g[{window}]", "LOAD_code(b, c, p, q, l)": f"code[{window}]",
                 "STORE_y(b, c, h, w, l, value)": f"y[{image}] = (value)"}
        buffers = ["const T *restrict g", "const uint8_t *restrict code", "T *restrict y"]
    return Instance(kernel, template, ctype, 16, buffers, POOL_SIZES, hooks, {"LANE_COUNT": lane_count, "MODE": mode})


def pool_geometry(rng: np.random.Generator) -> dict[str, int]:
    s = {**random_geometry(rng, spread=False), "C": int(rng.integers(1, 4)), "NB": 2}
    if rng.integers(2):
        s |= {"W": s["W"] + 150, "Q": (s["W"] + 150 + 2 * s["PW"] - (s["KW"] - 1) * s["DW"] - 1) // s["SW"] + 1}
    return s


def naive_pool(x: Array, s: Sizes, mode: int) -> tuple[Array, Array]:
    """The pooled array (b, c, p, q, l) and the codes; windows outside the image give 0."""
    y = np.zeros((x.shape[0], x.shape[1], s["P"], s["Q"], x.shape[4]), x.dtype)
    code = np.zeros(y.shape, np.uint8)
    windows: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for p, q, u, v, h, w in taps(s):
        windows.setdefault((p, q), []).append((u * s["KW"] + v, h, w))
    for (p, q), seen in windows.items():
        values = np.stack([x[:, :, h, w] for _, h, w in seen])
        best = values.argmax(axis=0)
        y[:, :, p, q] = np.take_along_axis(values, best[None], 0)[0] if mode == 0 else sum(values)
        code[:, :, p, q] = np.array([k for k, _, _ in seen])[best]
    return y, code


def naive_unpool(g: Array, code: Array, s: Sizes, mode: int) -> Array:
    y = np.zeros((g.shape[0], g.shape[1], s["H"], s["W"], g.shape[4]))
    for p, q, u, v, h, w in taps(s):
        y[:, :, h, w] += np.where((code[:, :, p, q] == u * s["KW"] + v) | (mode == 1), g[:, :, p, q], 0)
    return y


@pytest.mark.parametrize("lane_count", [1, 16])
@pytest.mark.parametrize("mode", [0, 1])
def test_pooling_and_its_gradient(lane_count: int, mode: int, tmp_path: pathlib.Path) -> None:
    pools, unpools = ([pool_instance(t, f"{t}_{ctype}", ctype, lane_count, mode) for ctype in DTYPES] for t in ("pool", "unpool"))
    library = library_of([*pools, *unpools], tmp_path)
    rng = np.random.default_rng(lane_count + mode)
    for number, (pool, unpool) in itertools.product(range(4), zip(pools, unpools, strict=True)):
        s, dtype = pool_geometry(rng), DTYPES[str(pool.macros["T"])]
        x = rng.integers(-2, 3, (2, s["C"], s["H"], s["W"], lane_count)).astype(dtype)   # ties: the first one counts
        if number % 4 == 3:
            x[rng.random(x.shape) < 0.1] = np.nan
        want, want_code = naive_pool(x, s, mode)
        y, code = np.full(want.shape, np.nan, dtype), np.full(want.shape, 99, np.uint8)
        pool.run(library, [x, code, y], s, [1, 2])
        np.testing.assert_array_equal(y, want)
        if mode == 0:
            np.testing.assert_array_equal(code, want_code)
        g, back = rng.integers(-4, 5, want.shape).astype(dtype), np.full(x.shape, np.nan, dtype)
        unpool.run(library, [g, want_code, back], s, [2])
        np.testing.assert_array_equal(back, naive_unpool(g, want_code, s, mode))


# ------------------------------------------------------------------------------------------------ scatter

@pytest.mark.parametrize("mode", [0, 1])
def test_scatter(mode: int, tmp_path: pathlib.Path) -> None:
    at = {"LOAD_index(m)": "(index[m] < 0 ? index[m] + ROWS : index[m])", "LOAD_v(m, r)": "v[(m) * R + (r)]",
          "LOAD_x(row, r)": "x[(row) * R + (r)]", "PTR_y(row, r)": "(y + (row) * R + (r))"}
    buffers = ["const T *restrict x", "const int64_t *restrict index", "const T *restrict v", "T *restrict y"]
    instance = Instance("scatter", "scatter", "float", 16, buffers, ["M", "ROWS", "R"], at, {"MODE": mode})
    library = library_of([instance], tmp_path)
    for m, rows, r in ((0, 5, 3), (40, 7, 1), (100, 300, 10), (30, 4, 700), (9, 0, 4), (9, 4, 0)):
        rng = np.random.default_rng(m)
        index, v = rng.integers(-rows - 1, rows + 2, m), normal(1, np.float32, m, r)
        x, y = normal(2, np.float32, rows, r), np.full((rows, r), np.nan, np.float32)
        want = x.copy()
        for i, row in enumerate(np.where(index < 0, index + rows, index)):
            if 0 <= row < rows:
                want[row] = v[i] if mode else want[row] + v[i]
        instance.run(library, [x, index, v, y], {"M": m, "ROWS": rows, "R": r}, [3])
        np.testing.assert_array_equal(y, want)


# ------------------------------------------------------------------------------------------------ cumulative

@pytest.mark.parametrize("mode", [0, 1, 2])
def test_cumulative(mode: int, tmp_path: pathlib.Path) -> None:
    at = {"LOAD_x(o, k, i)": "x[((o) * N + (k)) * I + (i)]", "LOAD_a(o, k, i)": "a[((o) * N + (k)) * I + (i)]",
          "STORE_y(o, k, i, value)": "y[((o) * N + (k)) * I + (i)] = (value)"}
    buffers = ["const T *restrict x", "const T *restrict a", "T *restrict y"]
    instance = Instance("cumulative", "cumulative", "double", 8, buffers, ["O", "N", "I"], at, {"MODE": mode})
    library = library_of([instance], tmp_path)
    for o, n, i in ((1, 50, 1), (3, 7, 5), (2, 4, 130), (0, 3, 2), (2, 0, 3), (2, 3, 0), (1, 1, 64)):
        x, a, y = normal(1, np.float64, o, n, i), normal(2, np.float64, o, n, i), np.full((o, n, i), np.nan)
        want = np.cumsum(x, 1) if mode == 0 else np.cumprod(x, 1)
        if mode == 2:
            want = x.copy()
            for k in range(1, n):
                want[:, k] += a[:, k] * want[:, k - 1]
        instance.run(library, [x, a, y], {"O": o, "N": n, "I": i}, [2])
        np.testing.assert_allclose(y, want, 1e-12, 1e-12)


# ------------------------------------------------------------------------------------------------ scalar mathematics

def sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


ERF, ERFC, GAMMALN = (np.vectorize(f, otypes=[np.float64]) for f in (math.erf, math.erfc, math.lgamma))

# name: (reference in a higher precision, largest error in ulp for float, for double)
UNARY: dict[str, tuple[Callable[[Array], Array], float, float]] = {
    "exp": (np.exp, 1.1, 1.3), "exp2": (np.exp2, 1.1, 1.2), "expm1": (np.expm1, 1.8, 1.9), "log": (np.log, 1.1, 1),
    "log1p": (np.log1p, 1, 1), "log2": (np.log2, 2, 1.7), "log10": (np.log10, 2.1, 2), "sqrt": (np.sqrt, 0.51, 0.51),
    "tanh": (np.tanh, 1.6, 1.6), "sigmoid": (sigmoid, 2.5, 2.4), "softplus": (softplus, 1.9, 1.9), "erf": (ERF, 1.1, 2),
    "erfc": (ERFC, 4.1, 5), "sin": (np.sin, 1.7, 1), "cos": (np.cos, 1.7, 1), "tan": (np.tan, 3.7, 1),
    "arcsin": (np.arcsin, 2.6, 1), "arccos": (np.arccos, 1.5, 1), "arctan": (np.arctan, 2, 1), "sinh": (np.sinh, 1.8, 2),
    "cosh": (np.cosh, 1.6, 2), "arcsinh": (np.arcsinh, 1.9, 2), "arccosh": (np.arccosh, 2.1, 2), "arctanh": (np.arctanh, 2, 2),
    "floor": (np.floor, 0, 0), "ceil": (np.ceil, 0, 0), "trunc": (np.trunc, 0, 0),
    "cbrt": (np.cbrt, 0.6, 4), "rint": (np.rint, 0, 0), "round": (np.rint, 0, 0), "abs": (np.abs, 0, 0), "sign": (np.sign, 0, 0),
}
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "maximum": np.maximum, "minimum": np.minimum, "mod": np.mod, "floor_divide": np.floor_divide, "fmod": np.fmod,
    "copysign": np.copysign, "power": np.power, "arctan2": np.arctan2, "hypot": np.hypot,
}
EXACT = {"maximum", "minimum", "mod", "floor_divide", "fmod", "copysign"}
INTEGER = ("maximum", "minimum", "mod", "floor_divide", "fmod", "power")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def loop(name: str, expression: str, ctype: str, inputs: str) -> str:
    arguments = "".join(f"const {ctype} *restrict {i}, " for i in inputs)
    return (f"void {name}({arguments}{ctype} *restrict out, int64_t n) {{\n    _Pragma(\"omp simd\")\n"
            f"    for (int64_t i = 0; i < n; i++) out[i] = ({ctype}){expression};\n}}\n")


@pytest.fixture(scope="module")
def scalar(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    text = "".join((FOLDER / name).read_text() for name in ("scalar.h", "philox.h"))
    for ctype in DTYPES:
        text += "".join(loop(f"{f}_{ctype}", f"{f}(x[i])", ctype, "x") for f in [*UNARY, "gammaln"])
        text += "".join(loop(f"{f}_{ctype}", f"{f}(x[i], z[i])", ctype, "xz") for f in BINARY)
    for dtype in INTEGERS:
        text += "".join(loop(f"{f}_{dtype}", f"{f}(x[i])", f"{dtype}_t", "x") for f in ("abs", "sign", "floor", "round"))
        text += "".join(loop(f"{f}_{dtype}", f"{f}(x[i], z[i])", f"{dtype}_t", "xz") for f in INTEGER)
    for ctype, short in (("float", "f32"), ("double", "f64")):
        for kind in ("uniform", "normal"):
            text += (f"void {kind}_{ctype}(uint64_t key, const uint64_t *restrict x, {ctype} *restrict out, int64_t n) {{\n"
                     f"    _Pragma(\"omp simd\") for (int64_t i = 0; i < n; i++) out[i] = {kind}_{short}(key, x[i]);\n}}\n")
    text += "void seen(const float *restrict x, int *restrict out, int64_t n) {\n    for (int64_t i = 0; i < n; i++) "
    text += "out[i] = isnan(x[i]) + 2 * isinf(x[i]) + 4 * isfinite(x[i]);\n}\n"
    return compile_text(text, tmp_path_factory.mktemp("scalar"), "scalar")


def apply(library: ctypes.CDLL, name: str, *inputs: Array) -> Array:
    out = np.empty_like(inputs[0])
    getattr(library, name)(*map(argument, [*inputs, out, inputs[0].size]))
    return out


def numbers(dtype: Any, seed: int, count: int = 4000) -> Array:
    """Edges, random bit patterns, and intervals where functions change."""
    rng, info = np.random.default_rng(seed), np.finfo(dtype)
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 0.5, -0.5, 1.5, 2.5, 3, info.tiny, info.smallest_subnormal, info.max, -info.max]
    bits = rng.integers(0, 2**info.bits, count, dtype=np.uint64).astype(f"uint{info.bits}").view(dtype)
    near = [rng.uniform(-size, size, count // 4) for size in (1, 4, 20, 100)] + [1 + rng.uniform(-0.5, 0.5, count // 4)]
    return np.concatenate([np.array(edges, dtype), np.where(np.isnan(bits), dtype(1), bits), *near]).astype(dtype)


def wider(x: Array) -> Array:
    return x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)


def assert_ulps(got: Array, exact: Array, limit: float, where: str) -> None:
    """Finite values within `limit` ulp of the exact ones; NaN, infinities and zero's sign as rounded from them."""
    with np.errstate(over="ignore"):
        want = exact.astype(got.dtype)
    finite = np.isfinite(want) & np.isfinite(got)
    size = np.minimum(np.abs(want[finite]), np.finfo(got.dtype).max / 2)   # the spacing of the largest number overflows
    error = np.abs(got[finite] - exact[finite]) / np.spacing(size)
    assert error.size == 0 or error.max() <= limit, f"{where}: {error.max()} ulp"
    np.testing.assert_array_equal(got[~finite], want[~finite], err_msg=where)
    zero = finite & (want == 0) & (got == 0)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]), err_msg=f"{where}: sign of zero")


@pytest.mark.parametrize("ctype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_number(name: str, ctype: str, scalar: ctypes.CDLL) -> None:
    reference, *limits = UNARY[name]
    x = numbers(DTYPES[ctype], 5)
    with np.errstate(all="ignore"):
        exact = reference(wider(x))
    assert_ulps(apply(scalar, f"{name}_{ctype}", x), exact, limits[ctype == "double"], f"{name}, {ctype}")


@pytest.mark.parametrize("ctype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_numbers(name: str, ctype: str, scalar: ctypes.CDLL) -> None:
    x, rng = numbers(DTYPES[ctype], 5), np.random.default_rng(6)
    for z in (rng.permutation(x), np.round(rng.permutation(x)), np.where(np.abs(x) < 3, x, 2).astype(x.dtype)[::-1].copy()):
        z[:16] = np.roll(x[:16], int(rng.integers(16)))
        with np.errstate(all="ignore"):
            exact = BINARY[name](x, z) if name in EXACT else BINARY[name](wider(x), wider(z))
        assert_ulps(apply(scalar, f"{name}_{ctype}", x, z), exact, 0 if name in EXACT else 2.3, f"{name}, {ctype}")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_functions_of_integers(dtype: str, scalar: ctypes.CDLL) -> None:
    info, rng = np.iinfo(dtype), np.random.default_rng(7)
    few = [info.min, info.max, 0, 1, 2, 3, 7, info.max - 1, *([-1, -2, -7] if info.min else [])]
    x, z = (np.array(v, dtype) for v in zip(*itertools.product(few, few), strict=True))
    x, z = (np.append(v, rng.integers(info.min, info.max, 500, dtype=dtype)) for v in (x, z))
    with np.errstate(all="ignore"):
        for name in INTEGER:
            power = name == "power"
            exponent = np.where(z < 0, 0, z).astype(dtype) if power else z
            np.testing.assert_array_equal(apply(scalar, f"{name}_{dtype}", x, exponent), BINARY[name](x, exponent), err_msg=name)
        for name in ("abs", "sign", "floor", "round"):
            want = x if name in ("floor", "round") else UNARY[name][0](x)
            np.testing.assert_array_equal(apply(scalar, f"{name}_{dtype}", x), want, err_msg=name)


@pytest.mark.parametrize("ctype", DTYPES)
def test_gammaln(ctype: str, scalar: ctypes.CDLL) -> None:
    dtype: Any = DTYPES[ctype]
    x = np.append(np.random.default_rng(1).uniform(-20, 60, 1000), [1, 2, 1e-30, 1e30]).astype(dtype)
    np.testing.assert_allclose(apply(scalar, f"gammaln_{ctype}", x), GAMMALN(x), rtol=4 * np.finfo(dtype).eps, atol=1e-13)
    poles = np.array([0, -1, -7, np.inf, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(apply(scalar, f"gammaln_{ctype}", poles), [np.inf] * 5 + [np.nan])


def test_negative_integer_exponents(scalar: ctypes.CDLL) -> None:
    x, n = np.array([1, -1, -1, 2, 0]), np.array([-5, -5, -4, -1, -1])
    np.testing.assert_array_equal(apply(scalar, "power_int64", x, n), [1, -1, 1, 0, 0])


def test_kinds_of_numbers(scalar: ctypes.CDLL) -> None:
    x, out = np.array([np.nan, np.inf, -np.inf, 1, -0.0, 1e-45], np.float32), np.zeros(6, np.int32)
    scalar.seen(*map(argument, (x, out, 6)))
    np.testing.assert_array_equal(out, [1, 2, 2, 4, 4, 4])


# ------------------------------------------------------------------------------------------------ random numbers

KNOWN = [   # the known answers of the authors' library Random123: counter, key, words
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]
COUNTERS = np.append(np.arange(4096, dtype=np.uint64), np.arange(2**64 - 4096, 2**64, dtype=np.uint64))
KEYS = (0, 7, 0xDEADBEEF12345678, 2**64 - 1)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert tuple(int(w) for w in philox.philox4x32(counter, key)) == expected


def draw(library: ctypes.CDLL, name: str, key: int, dtype: Any) -> Array:
    out = np.empty(COUNTERS.size, dtype)
    getattr(library, name)(ctypes.c_uint64(key), *map(argument, (COUNTERS, out, out.size)))
    return out


@pytest.mark.parametrize("ctype", DTYPES)
@pytest.mark.parametrize("key", KEYS)
def test_samples_agree_with_numpy(key: int, ctype: str, scalar: ctypes.CDLL) -> None:
    dtype = DTYPES[ctype]
    np.testing.assert_array_equal(draw(scalar, f"uniform_{ctype}", key, dtype), philox.uniform(key, COUNTERS, dtype))
    got, want = draw(scalar, f"normal_{ctype}", key, dtype), philox.normal(key, COUNTERS, dtype)
    assert np.abs((got - want) / np.spacing(np.abs(want))).max() <= 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_have_the_moments_of_their_distribution(dtype: Any) -> None:
    u, z = philox.uniform(1, np.arange(200_000), dtype), philox.normal(1, np.arange(200_000), dtype)
    assert u.dtype == z.dtype == dtype and u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.003 and abs(u.var() - 1 / 12) < 0.001
    assert abs(z.mean()) < 0.01 and abs(z.var() - 1) < 0.015 and abs((z**3).mean()) < 0.03 and abs((z**4).mean() - 3) < 0.1
    assert philox.normal(1, 5, dtype) == z[5]
