"""Choosing by trainings on tiles."""
