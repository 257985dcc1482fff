"""Rewriting: takes a graph and ordered lists of rules, gives a graph of the same values.

The road of a compiled function is ``optimise(expand(stabilise(simplify(open_user(roots)))))``; `function.py` walks it
stage by stage.
"""

from exprc.rewrite.engine import Rewriting as Rewriting
from exprc.rewrite.engine import Rule as Rule
from exprc.rewrite.engine import rewrite as rewrite
from exprc.rewrite.expand import expand as expand
from exprc.rewrite.expand import expand_bound as expand_bound
from exprc.rewrite.expand import named_by as named_by
from exprc.rewrite.expand import open_user as open_user
from exprc.rewrite.optimise import OPTIMISE as OPTIMISE
from exprc.rewrite.simplify import SIMPLIFY as SIMPLIFY
from exprc.rewrite.stabilise import STABILISE as STABILISE
