"""Image folders: files to scores, tables, overlays, reports, metrics."""
