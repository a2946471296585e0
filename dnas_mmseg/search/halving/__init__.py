"""Choosing the best network for one's own tiles by real trainings: the strategy ``halving``.

The algorithm is in ``search/selection``, which knows nothing of networks; here are the candidates
of a space, their trainings, the processes that do them, and what comes out.
"""
