"""Plain neural building blocks that know nothing of cryo-EM files."""
