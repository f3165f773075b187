"""What runs say beyond errors against a truth: sampling of Fourier space, resolution by direction."""
