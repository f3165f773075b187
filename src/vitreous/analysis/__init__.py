"""Embeddings, clusters and trajectories of latents."""
