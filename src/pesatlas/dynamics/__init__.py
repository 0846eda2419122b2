"""Tools: batched molecular dynamics at constant temperature and pressure."""
