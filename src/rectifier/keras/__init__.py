"""Rectified-linear units for Keras."""
