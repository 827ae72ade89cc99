"""Looking at a Keras model while it runs."""
