"""Pre-training, fine-tuning and feature extraction."""
