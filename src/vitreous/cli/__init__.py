"""The `vitreous` command: one small file per subcommand."""
