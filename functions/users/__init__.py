"""Users of a tenant: registered, with sealed personal data, and activated."""
