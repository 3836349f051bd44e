"""What LightGBM's models mean."""
