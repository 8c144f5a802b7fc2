"""The formulas of MuSc, one in each module; functions without state."""
