"""Tools of the repository that no running service needs."""
