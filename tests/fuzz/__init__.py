"""A fuzzer of the compiler: random typed graphs, an oracle that knows which digits can be trusted, a shrinker and a corpus.

``python -m tests.fuzz --graphs 100000 --seed 1 --jobs 1`` runs it from the root of the repository.

==============  =====================================================================================================
`grow`          seeded random graphs of every operation of the catalogue, with gradients, and values that go wrong
`steps`         the patterns that graphs are grown from besides single operations
`oracle`        what a graph gives, how far rounding may take it, and which elements rounding decides
`batch`         many graphs in one program: the program, the rewritten graph and one thread more, against the oracle
`shrink`        a failing graph with nodes deleted while it still fails
`corpus`        graphs as small texts, written where one fails and replayed by the suite
`distribution`  what was grown, counted
==============  =====================================================================================================
"""
