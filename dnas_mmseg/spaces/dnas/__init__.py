"""DNAS (Wang et al. 2022, Remote Sensing 14(16), 3864): cells on the edges of a lattice."""
