"""CryoAI: poses by an encoder of images, learned together with an implicit map (Levy et al. 2022, arXiv:2203.08138)."""
