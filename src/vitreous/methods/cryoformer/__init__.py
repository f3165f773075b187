"""CryoFormer: densities in real space that structure queries make of an image (Liu et al. 2023, arXiv:2303.16254)."""
