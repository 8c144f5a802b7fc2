"""Reference sets: parts that a person has called good, chosen, kept in a file, and checked."""
