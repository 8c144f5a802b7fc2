"""Where frames come from: files, which lose nothing, and live cameras, of which the latest counts.

Two disciplines, never mixed: a file or a simulated line waits for its reader, a live source
runs on.
"""
