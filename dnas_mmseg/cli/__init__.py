"""Command-line tools, one module each, and the parts that they share."""
