"""Network selection by training: the best network for a data set, whatever its family.

The algorithm is in :mod:`dnas_mmseg.selection.algorithm` and independent of networks. The other
modules contain the families of candidates, their trainings, the worker processes and the report.
"""
