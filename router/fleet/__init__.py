"""What the gateway reads of the fleet, and what it commands: copies, sessions, policies."""
