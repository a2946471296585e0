"""Layers that networks of any kind share."""
