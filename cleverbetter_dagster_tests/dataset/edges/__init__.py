"""Tests of what strategies tell about each other."""
