"""explain(): the text, and the page with everything on it."""

from __future__ import annotations

import html
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.errors import bytes_text
from exprc.loops import Barrier, Copy
from exprc.render.base import kernel_source
from exprc.seeing import code
from exprc.seeing.arena import arena_picture, spans
from exprc.seeing.drawing import CSP
from exprc.seeing.page import page
from exprc.seeing.steps import programs

HERE = Path(__file__).name
HOSTILE = '<script>alert("1")</script>&\x00]]>'
VOID = {"meta", "rect", "path", "polygon", "br"}


class Reader(HTMLParser):
    """Reads a page: that every element is closed, which elements there are, and what they say."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if "style" not in self.open:
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


@pytest.fixture(scope="module")
def step():
    """A training step with kernels, reductions, an update that is copied at the end, and names that nobody should use."""
    x, t = T.matrix(HOSTILE), T.matrix("t")
    rng = np.random.default_rng(0)
    w1 = exprc.shared(rng.normal(size=(20, 30)).astype("float32"), name="w1")
    w2 = exprc.shared(rng.normal(size=(30, 5)).astype("float32"), name="w2")
    hidden = T.tanh(x @ w1)  # the hidden layer
    cost = T.sqr(hidden @ w2 - t).mean()  # the cost
    g1, g2 = exprc.grad(cost, [w1, w2])
    f = exprc.function([x, t], cost, updates={w1: w1 - 0.1 * g1, w2: w2 - 0.1 * g2}, name=HOSTILE)
    f.values = rng.normal(size=(40, 20)).astype("float32"), rng.normal(size=(40, 5)).astype("float32")
    f(*f.values)
    return f


@pytest.fixture(scope="module")
def read(step):
    return Reader(page(step))


def test_the_text_tells_every_stage(step):
    lines = str(step.explain()).splitlines()
    assert lines[0].endswith("2 inputs, 1 outputs, 2 updates")
    road = "open simplify stabilise expand optimise sizes choose fuse layout memory lower verify render load".split()
    assert [name for name in (line.split()[0] for line in lines[1:]) if name in road] == road
    assert repr(step.explain()) == str(step.explain())
    assert f"{HERE}:" in step.explain(verbose=True) and "lanes l <" in step.explain(verbose=True)


def test_before_the_first_call_the_stages_of_the_graph_are_told():
    x = T.vector("x")
    f = exprc.function([x], T.exp(x))
    lines = f.explain().splitlines()
    assert [line.split()[0] for line in lines[1:6]] == "open simplify stabilise expand optimise".split() and "sizes " not in lines[-2]
    assert "call it once to see the other stages" in lines[-1]
    read = Reader(f.explain().html)
    assert "call it once" in read.text and "as written" in read.text and "arena" not in read.text


def test_on_the_interpreter_there_is_the_graph():
    x = T.vector("x")
    f = exprc.function([x], T.exp(x), mode="reference")
    assert "2 nodes" in f.explain() and f.explain().endswith("it runs on the NumPy interpreter: there is no program")
    assert "exp" in Reader(f.explain().html).text


def test_the_page_has_every_section_and_the_users_lines(step, read):
    assert [s for s in ("The road", "Your lines", "Steps", "Memory", "Graph") if s not in read.said] == []
    assert 'hidden = T.tanh(x @ w1)  # the hidden layer' in read.said
    assert sum(s.startswith(f"{HERE}:") for s in read.said) > 5
    assert read.tags.count("details") > len(step._compiled.last.plan.steps) and "svg" in read.tags
    for stage in "as written|simplify|sizes|gemm.h|the entry, which runs the steps".split("|"):
        assert any(stage in s for s in read.said), stage


def test_every_link_on_the_page_leads_somewhere_on_it(read):
    targets = {value for name, value in read.attributes if name == "id"}
    links = {value for name, value in read.attributes if name == "href"}
    assert links and {link[1:] for link in links if link.startswith("#")} <= targets and all(link.startswith("#") for link in links)


def test_the_page_loads_nothing_runs_nothing_and_escapes_names(step):
    text = page(step)
    read = Reader(text)
    assert f'content="{CSP}"' in text and "script" not in read.tags and not {"link", "img", "iframe", "object"} & set(read.tags)
    assert [name for name, _ in read.attributes if name.startswith("on") or name in ("src", "style")] == []
    assert "\x00" not in text and '<script>alert("1")</script>' in read.text
    assert not re.search(r"@import|url\(", text)


def test_the_page_has_times_after_a_profile_and_says_so_before(step):
    for loaded in step._compiled.programs.values():
        loaded.profiled = None
    assert "Not measured: call f.profile(...)" in page(step) and "Call f.profile(...) first" in page(step)
    measured = step.profile(*step.values, calls=2)
    assert measured.rows and measured.seconds > 0 and str(measured).startswith("step ")
    assert abs(sum(row.share for row in measured.rows) - 1) < 1e-6
    text = page(step)
    assert "as f.profile() measured it" in text and "Not measured" not in text
    assert text.count('class="bar"') > len(measured.rows) and "GFLOP/s" in text
    shared_out = [step_.row for view in programs(step._compiled) for step_ in view.steps]
    assert [row.name for row in shared_out] == [row.name for row in measured.rows]


def test_a_profile_of_no_calls_is_refused(step):
    with pytest.raises(ValueError, match="calls is 0"):
        step.profile(*step.values, calls=0)


def test_every_step_has_its_loops_its_c_and_its_lines(step):
    (view,) = programs(step._compiled)
    steps = [s for s in view.loaded.lowered.steps if not isinstance(s, Barrier)]
    assert [v.name for v in view.steps] == ["copy" if isinstance(s, Copy) else s.name for s in steps]
    for shown in view.steps:
        assert shown.name in shown.loops and f"void {shown.name}(" in shown.source and shown.lines, shown.name
        assert all(file == __file__ for file, _ in shown.lines)


def test_the_c_of_the_page_is_the_c_that_was_compiled(step):
    """Piece by piece, where it stands as it is: markup changes no character, and cutting loses no line."""
    (view,) = programs(step._compiled)
    source = step.source
    for shown in view.steps:
        assert html.unescape(re.sub(r"</?[iub]>", "", code.marked(shown.source))) == shown.source
        lines = [line for line in shown.source.splitlines() if line.strip() and not line.startswith("/* ")]
        assert all(line in source for line in lines)
    assert code.entry(view.loaded.text) in source


@pytest.mark.parametrize("name", ["scalar.h", "gemm.h", "conv2d.h", "philox.h"])
def test_marking_changes_no_character(name):
    text = kernel_source(f"c/{name}")
    assert html.unescape(re.sub(r"</?[iub]>", "", code.marked(text))) == text
    assert "<i>" in code.marked(text) and "<b>" in code.marked(text)


def test_equal_functions_are_told():
    x, y = T.matrix("x"), T.matrix("y")
    f = exprc.function([x, y], [(x @ y).sum(), (y @ x).sum()])
    f(np.ones((8, 8), "float32"), np.ones((8, 8), "float32"))
    (view,) = programs(f._compiled)
    assert all(s.source for s in view.steps if not s.name.startswith("copy"))
    assert any("is the same function as" in s.source for s in view.steps)


def test_the_arena_is_drawn_where_the_plan_has_it(step):
    (view,) = programs(step._compiled)
    plan = view.loaded.plan
    names, alive = spans(view)
    assert set(alive) == set(plan.offsets) and all(0 <= a <= b < len(names) for a, b in alive.values())
    picture = arena_picture(view)
    assert picture.count("<title>") == len(plan.offsets) and f"{HERE}:" in picture
    for x, y, w, h in re.findall(r'<rect x="([\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"', picture):
        assert 0 <= float(x) and float(x) + float(w) <= 901 and 0 <= float(y) and float(y) + float(h) <= 321


def test_sizes_are_told_in_units_that_people_read():
    assert [bytes_text(n) for n in (0, 1023, 1024, 5 * 2**20, 3 * 2**30)] == ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 GiB"]


def test_functions_with_work_of_the_host_in_between_have_several_programs():
    x = T.vector("x")
    f = exprc.function([x], T.exp(T.sort(T.exp(x)) * 2).sum())
    f(np.linspace(0, 1, 100, dtype="float32"))
    views = programs(f._compiled)
    assert len(views) > 1
    measured = f.profile(np.linspace(0, 1, 100, dtype="float32"), calls=1)
    assert len(measured.rows) == sum(len(v.steps) for v in views)
    read = Reader(page(f))
    assert "program 1" in read.text
    ids = [value for name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_large_graphs_are_listed_instead_of_drawn():
    x = y = T.vector("x")
    for _ in range(300):
        y = T.sin(y)
    read = Reader(page(exprc.function([x], y, mode="reference")))
    assert "polygon" not in read.tags and "rect" not in read.tags[read.tags.index("details") :]
    assert any(s.count("sin  float32, (?,)") == 300 for s in read.said)


def test_saving(step, tmp_path, monkeypatch):
    file = tmp_path / "page.html"
    step.explain().save(file)
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")
    before = file.read_text(encoding="utf-8")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        step.explain().save(file)
    assert file.read_text(encoding="utf-8") == before and os.listdir(tmp_path) == ["page.html"]


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(step):
    read = Reader(step.explain()._repr_html_())
    assert read.tags == ["iframe"] and ("sandbox", None) in read.attributes
    (inner,) = [value for name, value in read.attributes if name == "srcdoc"]
    assert Reader(inner).said.count("The road") == 2  # in the navigation, and above the section


@pytest.mark.long
def test_the_page_of_lenet_is_small_enough():
    source = (Path(__file__).parent.parent / "examples" / "lenet.py").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    exec(compile(source.split("test = exprc.function")[0], "lenet.py", "exec", dont_inherit=True), names)
    step = names["step"]
    values = np.zeros((100, 1, 28, 28), "float32"), np.zeros(100, "uint8")
    step.profile(*values, calls=2)
    assert len(page(step).encode()) < 3_000_000


def test_the_page_of_a_kernel_of_two_texts():
    x, w = T.tensor4("x"), T.tensor4("w")
    f = exprc.function([x, w], T.conv2d(x, w, border_mode=(1, 1)), mode="compiled")
    f(np.ones((32, 32, 16, 16), "float32"), np.ones((32, 32, 3, 3), "float32"))
    assert "here stands kernels/c/winograd_tile.h and kernels/c/conv2d_winograd.h, see below" in page(f)
