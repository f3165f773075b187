"""Decoders of latents and what finds these: CryoDRGN, CryoNOO's self-distillation, the autodecoder."""
