"""What CatBoost's models mean."""
