"""The adapter of JAX: functions with derivatives of any order, forward and reverse."""
