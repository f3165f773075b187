"""The centred Fourier transform, frequencies in 1/Å, shells, filters and correlation curves."""
