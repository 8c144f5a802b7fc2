"""The line as a program: frames in, verdicts out."""
