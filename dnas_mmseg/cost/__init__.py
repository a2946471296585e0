"""What networks and their parts cost: multiply-adds, parameters, memory and time."""
