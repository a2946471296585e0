"""Models side by side: what they cost, how fast they are, how well they do."""
