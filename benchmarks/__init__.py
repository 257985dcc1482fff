"""Measurements of exprc beside other libraries; see README.md.

Nothing here imports exprc or a peer at the top: the modules that the peers need run in the peers' own environment.
"""
