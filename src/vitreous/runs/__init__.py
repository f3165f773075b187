"""Run folders: the manifest, the results in open formats and the checkpoints."""
