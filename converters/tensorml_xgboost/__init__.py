"""What XGBoost's models mean."""
