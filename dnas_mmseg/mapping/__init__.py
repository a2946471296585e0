"""Georeferenced class maps from trained models, and their scores."""
