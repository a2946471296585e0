"""Conversion of labelled scenes and releases to tiles."""
