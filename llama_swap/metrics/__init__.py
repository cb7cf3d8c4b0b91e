"""Records of requests and their results: activity, captures, counters; and samples of the hardware."""
