"""Physical constants and the few numbers that several packages must agree on."""

FSC_GOLD_STANDARD = 0.143
"""FSC threshold between two independent half-maps (Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013)."""

FSC_TO_TRUTH = 0.5
"""FSC threshold between a map and a noise-free truth (same source: C_ref = 0.5 is FSC_half = 1/7)."""

PADDING = 2
"""Oversampling of a map's Fourier transform for trilinear slicing."""
