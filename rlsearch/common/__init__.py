"""Helpers that know nothing of formulas or networks."""
