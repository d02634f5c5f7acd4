"""What the scripts cost Redis in fleets of every size: made-up workers, real scripts."""
