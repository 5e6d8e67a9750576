"""Pages of the cloud."""
