"""Comparison of models: their cost, speed and scores."""
