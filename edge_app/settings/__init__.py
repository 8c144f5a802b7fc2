"""What the commands can be told."""
