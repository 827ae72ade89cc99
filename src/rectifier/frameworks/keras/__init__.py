"""The adapter for Keras: functions on tensors of its backend, and on symbolic ones."""
