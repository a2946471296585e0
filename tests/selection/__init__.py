"""Tests of selections with real trainings."""
