"""The tape that a user holds: frozen, checked, simplified, run again; imports transforms."""
