"""Backups: our schemas of the databases and our files at one instant, in one archive, and the way back."""
