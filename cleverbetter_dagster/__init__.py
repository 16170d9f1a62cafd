"""Trains, judges, promotes and keeps retraining the models that decide which betting strategies to run next."""
