"""From scenes and releases to data roots of tiles."""
