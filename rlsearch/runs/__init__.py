"""Runs: a config made into its parts, trained, kept in a folder, and read again."""
