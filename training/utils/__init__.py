"""What the stages share: a folder for each concern (docs/how_it_is_built.md)."""
