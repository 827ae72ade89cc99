"""The adapter of TensorFlow: functions with gradients of any order, eager, in graphs and under XLA."""
