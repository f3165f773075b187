"""Speed, memory and quality of vitreous: scripts that write JSON to ``results/``, and the page made from it."""
