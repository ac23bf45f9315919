"""The API as read-only tools of the Model Context Protocol, for assistants."""
