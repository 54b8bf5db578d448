"""Self-contained web pages about an archive: no network, no script from elsewhere."""
