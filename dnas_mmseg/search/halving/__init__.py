"""Network selection by training runs: the strategies ``halving`` and ``random``.

The algorithm is in :mod:`dnas_mmseg.search.selection` and independent of networks. This package
contains the candidates of a search space, their trainings, the worker processes and the report.
"""
