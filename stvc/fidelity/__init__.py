"""How faithful an archive is to its original: the quality numbers that scientists ask for."""
