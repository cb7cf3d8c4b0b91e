"""One model's process, from launch to exit."""
