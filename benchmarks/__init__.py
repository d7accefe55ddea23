"""Programs that measure: seconds, memory, robustness."""
