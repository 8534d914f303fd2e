"""A user's own network and data: built, checked, and trained together or one after the other."""
