"""Autoencoders of projections: CryoDRGN, and CryoNOO's self-distillation."""
