"""Pictures of why."""
