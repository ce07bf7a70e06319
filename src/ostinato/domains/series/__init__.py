"""Real-valued time series: reading, scoring and forecasting them."""
