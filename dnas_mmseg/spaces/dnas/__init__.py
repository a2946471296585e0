"""DNAS (Remote Sensing 2022, 14(16), 3864): cells on the edges of a lattice."""
