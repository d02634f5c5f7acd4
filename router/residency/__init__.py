"""What the fleet holds, and the doors to change that: loads, policies, sessions."""
