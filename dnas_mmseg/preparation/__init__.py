"""Conversion of scenes and releases to data roots of tiles."""
