"""Building, keeping, loading and running programs."""
