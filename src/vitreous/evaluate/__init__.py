"""Quality of maps, poses and latents against a truth."""
