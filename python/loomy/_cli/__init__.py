"""The commands of `python -m loomy`, one per file; nothing outside `loomy.__main__` imports this."""
