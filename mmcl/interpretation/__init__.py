"""What the learnt representation aligns with."""
