"""Framing: which part of a camera's picture the network sees."""
