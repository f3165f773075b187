"""The data that flows between the parts: frozen dataclasses without file formats."""
