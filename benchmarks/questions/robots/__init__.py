"""What adaptation is worth on robots whose dynamics change."""
