"""What is wrong with a machine, its installation and a station's file, and what to do."""
