"""The command line: `app` declares the commands, a module each does what one is asked for."""

from stvc.cli.app import app, main, run

__all__ = ["app", "main", "run"]
