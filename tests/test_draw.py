"""draw(): the layout, the picture, and what notebooks show."""

from __future__ import annotations

import os
import random
import re
import stat
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc import draw
from exprc.expr import Expr
from exprc.seeing.drawing import CSP, Drawing, hover, label_of, nearest_nodes
from exprc.seeing.layered import GAP, place
from exprc.seeing.svg import LEGEND

SVG = "{http://www.w3.org/2000/svg}"


def nodes_of(drawing: Drawing) -> list[ElementTree.Element]:
    """The drawn nodes; parsing fails unless the picture is well-formed XML."""
    root = ElementTree.fromstring(drawing.svg)
    return [g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}text") is not None and g.get("class") in LEGEND]


def texts_of(drawing: Drawing) -> list[str]:
    return [(g.find(f"{SVG}text").text or "") for g in nodes_of(drawing)]


def titles_of(drawing: Drawing) -> list[str]:
    return [title.text or "" for g in nodes_of(drawing) if (title := g.find(f"{SVG}title")) is not None]


# -- layout


def random_graph(rng: random.Random) -> tuple[list[tuple[float, float]], list[list[int]]]:
    count = rng.randint(1, 40)
    boxes = [(rng.choice([30.0, 80.0, 200.0]), rng.choice([20.0, 40.0])) for _ in range(count)]
    return boxes, [rng.sample(range(k), min(k, rng.randint(0, 3))) for k in range(count)]


@pytest.mark.parametrize("seed", range(60))
def test_boxes_never_overlap_and_stand_below_what_they_use(seed):
    boxes, inputs = random_graph(random.Random(seed))
    placed = place(boxes, inputs)
    for a in range(len(boxes)):
        (xa, ya), (wa, ha) = placed.centres[a], boxes[a]
        assert wa / 2 - 1e-6 <= xa <= placed.width - wa / 2 + 1e-6 and ha / 2 - 1e-6 <= ya <= placed.height - ha / 2 + 1e-6
        assert all(placed.centres[i][1] + boxes[i][1] / 2 < ya - ha / 2 for i in inputs[a])
        for b in range(a):
            (xb, yb), (wb, hb) = placed.centres[b], boxes[b]
            assert abs(xa - xb) >= (wa + wb) / 2 + GAP - 1e-6 or abs(ya - yb) >= (ha + hb) / 2


@pytest.mark.parametrize("seed", range(20))
def test_every_use_has_a_line_from_box_to_box_that_only_goes_down(seed):
    boxes, inputs = random_graph(random.Random(seed))
    placed = place(boxes, inputs)
    arrived = {(source, target) for source, target, _ in placed.lines if target is not None}
    assert arrived == {(i, k) for k, used in enumerate(inputs) for i in used}
    starts = {points[0] for _, _, points in placed.lines}
    for source, _, points in placed.lines:
        assert all(a[1] <= b[1] for a, b in zip(points, points[1:]))
        x, y = placed.centres[source]
        assert (x, y + boxes[source][1] / 2) in starts


def test_a_chain_is_one_straight_line():
    placed = place([(50.0, 20.0)] * 30, [[k - 1] if k else [] for k in range(30)])
    assert {x for x, _ in placed.centres} == {25.0}


def test_a_large_layout_takes_no_more_than_a_moment():
    rng = random.Random(0)
    inputs = [[rng.randint(max(0, k - 30), k - 1) for _ in range(2)] if k else [] for k in range(1000)]
    begin = time.perf_counter()
    place([(60.0, 30.0)] * 1000, inputs)
    assert time.perf_counter() - begin < 20


def test_nothing_is_drawn_as_an_empty_picture():
    assert ElementTree.fromstring(draw([]).svg).tag == f"{SVG}svg"


# -- what is drawn


def test_nodes_show_operation_type_and_the_users_line():
    x = T.matrix("x")
    w = exprc.shared(np.zeros((3, 2), "float32"), name="w")
    y = T.tanh(x @ w).sum(axis=0)  # the line that is looked for
    drawing = draw(y)
    assert {"x", "w", "tanh", "sum", "gemm"} <= set(texts_of(drawing))
    assert {"input", "shared", "formula", "view", "reduce", "kernel"} <= {g.get("class") for g in nodes_of(drawing)}
    assert "float32, (3, 2)" in drawing.svg
    title = next(t for t in titles_of(drawing) if t.startswith("sum("))
    assert "axes = (0,)" in title and y.where in title and "# the line that is looked for" in title


def test_numbers_stand_inside_the_node_that_uses_them():
    x = T.vector("x")
    assert label_of(1 - x) == "sub(1.0, ·)" and label_of(x * np.float32(0.1)) == "mul(·, 0.1)"
    assert len(nodes_of(draw((1 - x) * 0.5))) == 3


def test_a_named_expression_shows_its_name_and_long_names_are_cut():
    x = T.vector("x")
    y = T.exp(x)
    y.name = "y"
    assert label_of(y) == "y = exp"
    x.name = "x" * 500
    assert len(label_of(x)) < 30 and len(hover(x)) < 2000


def test_composites_are_one_node():
    drawing = draw(T.softmax(T.matrix("x")))
    assert texts_of(drawing) == ["x", "softmax"] and nodes_of(drawing)[1].get("class") == "composite"


def test_a_leaf_far_from_its_first_user_is_drawn_again():
    x = y = T.vector("x")
    for _ in range(20):
        y = T.sin(y)
    assert texts_of(draw(y * x)).count("x") == 2 and texts_of(draw(T.sin(x) * x)).count("x") == 1


def test_lists_dicts_and_functions():
    x = T.vector("x")
    w = exprc.shared(np.zeros(3, "float32"), name="w")
    assert repr(draw([x, x + 1])) == "<drawing of 2 nodes>"
    assert "mean" in texts_of(draw({"mean": x.mean()}))
    f = exprc.function([x], (w * x).sum(), updates={w: w + 1}, mode="reference")
    assert {"output", "new w"} <= set(texts_of(draw(f)))


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(TypeError, match=r"draw: an expression, a list of them or a function is needed, not 3 \(int\)"):
        draw(3)
    with pytest.raises(TypeError, match="draw: an expression is needed, not 'x'"):
        draw(["x"])
    with pytest.raises(ValueError, match="limit is 0"):
        draw(T.scalar(), limit=0)


def test_a_graph_beyond_the_limit_says_so():
    y = T.vector("x")
    for _ in range(50):
        y = T.sin(y) + 1
    drawing = draw(y, limit=10)
    assert drawing.nodes == 10 and "the 10 nodes nearest to the results" in drawing.svg
    assert texts_of(drawing).count("… 1 input") == 1
    assert draw(y).note == "" and draw(y).nodes == 101


def test_a_huge_graph_is_looked_at_near_its_result_only():
    y = T.vector("x")
    for _ in range(5_000):
        y = T.sin(y) + T.cos(y)
    begin = time.perf_counter()
    kept, whole = nearest_nodes([y], 60)
    text = y._repr_html_()
    assert time.perf_counter() - begin < 1 and len(kept) == 60 and not whole
    assert "more than 60 nodes" in text and "exprc.draw(x)" in text and "<svg" not in text


# -- safe and self-contained

HOSTILE = '<script>alert("1")</script>&"\'\x00\x1b]]>\ud800'


def outside_references(text: str) -> list[str]:
    found = re.findall(r"(?:https?:|//|url\(|@import|javascript:|<script|<link|<img|\son\w+=)[^\s>]{0,40}", text)
    return [f for f in found if not f.startswith(("http://www.w3.org/2000/svg",))]


def test_names_are_escaped_and_nothing_is_loaded_or_run(tmp_path):
    x = T.vector(HOSTILE)
    y = T.exp(x)
    y.name = HOSTILE
    drawing = draw({HOSTILE: y * 2})
    drawing.save(tmp_path / "hostile.svg")
    drawing.save(tmp_path / "hostile.html")
    for text in (drawing.svg, drawing.html, x._repr_html_(), y._repr_html_()):
        assert outside_references(text) == [] and "&lt;script&gt;" in text
    ElementTree.fromstring((tmp_path / "hostile.svg").read_bytes())
    assert f'content="{CSP}"' in drawing.html and CSP.startswith("default-src 'none'")


def test_files(tmp_path):
    x = T.vector("x")
    draw(x + 1, tmp_path / "a.svg")
    draw(x + 1, str(tmp_path / "a.html"))
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<svg")
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(ValueError, match=r"'a.png' must end in .svg or .html"):
        draw(x, "a.png")
    assert sorted(os.listdir(tmp_path)) == ["a.html", "a.svg"]


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "a.svg"
    file.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        draw(T.scalar("x"), file)
    assert file.read_text() == "old" and os.listdir(tmp_path) == ["a.svg"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_picture_can_be_shared_as_any_new_file(tmp_path):
    before = os.umask(0o022)
    try:
        draw(T.scalar("x"), tmp_path / "a.svg")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.svg").stat().st_mode) == 0o644


# -- notebooks


def test_notebooks_show_a_small_graph_as_a_drawing():
    x = T.vector("x")
    assert "<svg" in (x * 2)._repr_html_() and draw(x * 2)._repr_svg_().startswith("<svg")


def test_notebooks_show_leaves_in_words():
    w = exprc.shared(np.arange(3, dtype="float32"), name="w")
    assert "shared variable" in w._repr_html_() and "[0. 1. 2.]" in w._repr_html_()
    assert "input <code>x</code>" in T.vector("x")._repr_html_()
    big = exprc.shared(np.zeros((500, 500), "float32"))
    assert len(big._repr_html_()) < 2000


def test_notebooks_show_what_a_function_takes_and_gives():
    x, w = T.vector("<x>"), exprc.shared(np.float32(0), name="w")
    text = exprc.function([x], x.sum(), updates={w: w + 1}, name="f", mode="reference")._repr_html_()
    assert "function f" in text and "&lt;x&gt; float32, (?,)" in text and "the NumPy interpreter" in text and "<td>w</td>" in text


def test_every_form_has_a_name_in_the_legend():
    from exprc.forms import Composite, Formula, Kernel, Reduce, View

    assert {form.form for form in (Composite, Formula, Kernel, Reduce, View)} <= set(LEGEND)
    assert isinstance(T.scalar("x"), Expr)
