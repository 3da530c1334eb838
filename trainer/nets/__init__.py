"""The architectures that a protocol can name, see `trainer.nets.registry`."""
