"""What `tools/fuzz.py` attacks, and how."""
