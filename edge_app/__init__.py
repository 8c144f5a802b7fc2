"""The program around the scores: sources, commands, overlays, reports, outputs."""
