"""The adapter of PyTorch: functions with autograd, the table of sites, and what the check-up needs of a model."""
