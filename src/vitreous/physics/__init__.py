"""How a particle becomes an image: CTF, projection, shifts and noise, each with its adjoint."""
