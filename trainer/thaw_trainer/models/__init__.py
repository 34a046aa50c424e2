"""Loading and saving pretrained models."""
