"""Faults made on purpose; see `faults.harness`."""
