"""Where alerts go: a webhook, and whatever Apprise reaches by URL. Addresses are secrets, never logged or shown."""
