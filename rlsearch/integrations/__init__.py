"""Formulas in other people's libraries, one file per library. Nothing here is loaded unless it is imported."""
