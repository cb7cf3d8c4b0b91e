"""Random lives of router, scheduler, machines and launcher together, on a clock, in a machine that is played."""
