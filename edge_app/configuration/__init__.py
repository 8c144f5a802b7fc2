"""The file that describes a line: read, checked whole, shown with where each value comes from."""
