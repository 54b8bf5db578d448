"""The conditional transformer entropy model: integer inference and its weights."""
