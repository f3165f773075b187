"""From atoms to particle stacks whose truth is known."""
