"""Offline, on a workstation: a backbone becomes a bundle that the runtime trusts."""
