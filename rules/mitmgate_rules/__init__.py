"""Data only: rule packs, starter policies and lists, opened through importlib.resources."""
