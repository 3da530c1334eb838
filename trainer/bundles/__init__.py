"""From a trained net of the registry to a bundle that the daemon loads."""
