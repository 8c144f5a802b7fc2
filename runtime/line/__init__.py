"""The line: frames scored as they come, against the last frames."""
