"""What was asked of the models and what came of it: activity, captures, counters, and the hardware below."""
