"""Takes an expanded, optimised graph and the sizes of one call; gives a Plan: what is stored where, and the steps in order.

Order: sizes, choose, absorb, fuse (which also cuts reductions in parts), layout, memory. No step revisits an earlier one. It does not write
loops: `exprc.lower` does.
"""
