"""The REST API: training jobs, models and predictions over HTTP. Thin: check, call a service, answer."""
