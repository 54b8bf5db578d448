"""A simulated season of monitoring: the world, its days, and the audit afterwards."""
