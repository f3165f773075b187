"""One file format per module; `open_particles` reads any of them."""
