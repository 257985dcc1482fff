"""explain(): every stage that a function went through, as text and as one page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from exprc.seeing.drawing import save_text
from exprc.seeing.page import page
from exprc.seeing.stages import stages_of, what_is_missing
from exprc.seeing.svg import escape

if TYPE_CHECKING:
    from exprc.function import Function


class Explanation(str):
    """The stages of a function: text to print, and a page to look at.

    The page shows the lines of yours with the steps made from them, every step with its loops and its C, the memory plan, the graph
    after each stage, and the time of each step if `f.profile()` was called before. It is one HTML file that loads nothing and runs
    nothing. In a notebook the page is shown by itself.

    Attributes
    ----------
    html : the page as text.

    Examples
    --------
    >>> import exprc, exprc.tensor as T
    >>> x = T.vector("x")
    >>> explained = exprc.function([x], T.exp(x).sum(), name="total").explain()
    >>> print(explained)  # doctest: +ELLIPSIS
    function total: 1 inputs, 1 outputs, 0 updates
    open ... ms   3 nodes
    ...
    >>> explained.html[:15]
    '<!doctype html>'
    """

    function: Function

    @property
    def html(self) -> str:
        return page(self.function)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write the page to a file: whole, or not at all."""
        save_text(file, self.html)

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its styles and the notebook's leave each other alone."""
        frame = 'style="width:100%;height:700px;border:1px solid #8888" sandbox'
        return f'<iframe {frame} title="explain" srcdoc="{escape(self.html)}"></iframe>'

    def __repr__(self) -> str:
        return str(self)


def explain(f: Function, verbose: bool = False) -> Explanation:
    """Return the stages of `f`, with the time of each; with `verbose`, what each made."""
    lines = [f"{f._label()}: {len(f.inputs)} inputs, {f.outputs} outputs, {len(f.updates)} updates"]
    for stage in stages_of(f):
        text = stage.show()
        lines.append(f"{stage.name:<10} {stage.seconds * 1e3:9.2f} ms   {text.splitlines()[0] if not verbose else ''}".rstrip())
        lines += [f"    {line}" for line in text.splitlines()] if verbose else []
    launched = f._compiled.launched() if f._compiled is not None else []
    lines += [f"launches of a call, {len(launched)}: blocks x threads", *(f"    {launch}" for launch in launched)] if launched else []
    copies = f._compiled.copies() if f._compiled is not None else []
    lines += [f"copies between the host and {f.device}, {len(copies)}:", *(f"    {copy}" for copy in copies)] if copies else []
    missing = what_is_missing(f)
    explained = Explanation("\n".join([*lines, *filter(None, [missing])]))
    explained.function = f
    return explained
