"""One folder per method; methods never import each other."""
