"""Mining: brute force over every formula, in native code; ``method.py`` searches by it, ``engine.py`` does it."""
