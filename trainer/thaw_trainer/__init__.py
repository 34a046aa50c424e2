"""The trainer: one FineTuneJob from data to exported model."""
