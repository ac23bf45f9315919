"""What tests build, start and wait with."""
