"""From trained models to georeferenced class maps, and their scores."""
