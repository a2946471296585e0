"""Costs of networks and their parts: multiply-adds, parameters, memory and latency."""
