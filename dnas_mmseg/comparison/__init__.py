"""Comparison of models by cost, speed and scores."""
